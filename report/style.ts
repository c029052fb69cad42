/** Colours and type of plots and pages, for light and dark. */

/** Colours of series before they begin anew, dashed. */
export const COLOURS = 12

/**
 * The first six are Okabe and Ito's, told apart with any kind of colour vision, darker or lighter where the page would
 * swallow them. From the seventh on, hue alone does not suffice: lines are dashed and areas hatched.
 */
const LIGHT = `
  color-scheme: light;
  --page: #ffffff; --panel: #f6f8fa; --text: #1f2328; --muted: #57606a; --grid: #d0d7de; --axis: #6e7781;
  --good: #116329; --good-panel: #dafbe1; --bad: #a40e26; --bad-panel: #ffebe9;
  --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b8569a; --s4: #c98500; --s5: #3a9bd6;
  --s6: #7b2d8e; --s7: #8c6d1f; --s8: #c2185b; --s9: #00767a; --s10: #5c6bc0; --s11: #6d4c41; --rest: #8b949e;
  --h0: #f6f8fa; --h1: #deebf7; --h2: #c6dbef; --h3: #9ecae1; --h4: #6baed6; --h5: #2171b5; --h6: #08306b;
  --ink0: #57606a; --ink1: #000000; --ink2: #000000; --ink3: #000000; --ink4: #000000; --ink5: #ffffff; --ink6: #ffffff;
  --kill: #b3261e; --freeze: #0b6bcb; --cut: #a65f00; --odd: #7b2d8e; --come: #116329;`
const DARK = `
  color-scheme: dark;
  --page: #0d1117; --panel: #161b22; --text: #e6edf3; --muted: #9ea7b3; --grid: #30363d; --axis: #8b949e;
  --good: #56d364; --good-panel: #0f2d19; --bad: #ff9492; --bad-panel: #3c1618;
  --s0: #4aa3df; --s1: #f0803c; --s2: #2cc79a; --s3: #e39bc6; --s4: #f2b63d; --s5: #8fd0f5;
  --s6: #c58be0; --s7: #cdb264; --s8: #ff7aa8; --s9: #46c0c4; --s10: #9fa8ff; --s11: #bf9b8a; --rest: #6e7681;
  --h0: #161b22; --h1: #0b2545; --h2: #10396b; --h3: #17508f; --h4: #2a6fb8; --h5: #5a9bd8; --h6: #a6cff2;
  --ink0: #9ea7b3; --ink1: #ffffff; --ink2: #ffffff; --ink3: #ffffff; --ink4: #ffffff; --ink5: #000000; --ink6: #000000;
  --kill: #ff6b63; --freeze: #58a6ff; --cut: #e3a33b; --odd: #d2a8ff; --come: #56d364;`

function range(count: number, rule: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => rule(n)).join('\n')
}

/** What a plot's elements look like; a page has it once, a file of its own has it inside. Paper is light. */
export const PLOT_STYLE = `
:root {${LIGHT}
}
@media screen and (prefers-color-scheme: dark) {
:root {${DARK}
}
}
.plot text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--text) }
.plot text.muted { fill: var(--muted) }
.plot text.heading { font-size: 14px; font-weight: 600 }
.plot .axis { stroke: var(--axis); stroke-width: 1 }
.plot .grid { stroke: var(--grid); stroke-width: 1 }
.plot .whisker { stroke: var(--text); stroke-width: 1.5 }
.plot .curve { fill: none; stroke-width: 1.75; stroke-linejoin: round }
.plot .dashed { stroke-dasharray: 6 3 }
.plot .layer { stroke: var(--page); stroke-width: .6 }
.plot .hatch { stroke: var(--page); stroke-opacity: .55; stroke-width: 1.5 }
.plot .band { fill: var(--kill); fill-opacity: .09 }
.plot .hover { fill: transparent }
.plot .hover:hover { fill: var(--text); fill-opacity: .09 }
.plot .shade { fill-opacity: .3 }
.plot .lane { fill: var(--panel) }
.plot .back { fill: var(--rest); fill-opacity: .4 }
.plot .rug { stroke: var(--text); stroke-opacity: .6; stroke-width: 1 }
.plot .mean { stroke: var(--text); stroke-width: 1.5; stroke-dasharray: 4 3 }
.plot .goal { fill: none; stroke: var(--text); stroke-width: 1.5; stroke-dasharray: 2 3 }
.plot .cell { stroke: var(--page); stroke-width: 1 }
.plot .rest { fill: var(--rest); stroke: var(--rest) }
${['kill', 'freeze', 'cut', 'odd', 'come'].map((kind) => `.plot .${kind} { fill: var(--${kind}) } .plot .${kind}-line { stroke: var(--${kind}); stroke-width: 1.5; fill: none }`).join('\n')}
${range(COLOURS, (n) => `.plot .f${n} { fill: var(--s${n}) } .plot .l${n} { stroke: var(--s${n}) }`)}
.plot .frest { fill: var(--rest) } .plot .lrest { stroke: var(--rest) }
${range(7, (n) => `.plot .h${n} { fill: var(--h${n}) } .plot text.ink${n} { fill: var(--ink${n}); font-size: 11px }`)}
`
