import { Argument, Command, type Option } from 'commander'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

/** What is completed of one verb. */
interface VerbWords {
  readonly name: string
  readonly description: string
  readonly flags: readonly {
    readonly long: string
    readonly description: string
    readonly choices: readonly string[]
  }[]
  /** Verbs below it, as those of `sim`. */
  readonly below: readonly VerbWords[]
}

/** `spillway completion`: a script for the shell, made of the verbs as they are. */
export function completionCommand(verbs: () => Promise<Command[]>): Command {
  return new Command('completion')
    .description('print a script that completes verbs and flags in your shell')
    .addArgument(new Argument('<shell>', 'your shell').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  $ source <(spillway completion bash)
  $ spillway completion zsh > "\${fpath[1]}/_spillway"
  $ spillway completion fish > ~/.config/fish/completions/spillway.fish`,
    )
    .action(async (shell: Shell) => {
      const words = (await verbs()).map(wordsOf)
      process.stdout.write(SCRIPTS[shell](words))
    })
}

function wordsOf(command: Command): VerbWords {
  const flags = command.options
    .filter(({ long, hidden }) => long !== undefined && long !== null && !hidden)
    .map((option: Option) => ({
      long: option.long ?? '',
      description: option.description,
      choices: option.argChoices ?? [],
    }))
  return {
    name: command.name(),
    description: command.description(),
    flags: [...flags, { long: '--help', description: 'show how it is used', choices: [] }],
    below: command.commands.map(wordsOf),
  }
}

const SCRIPTS: { readonly [shell in Shell]: (verbs: readonly VerbWords[]) => string } = { bash, zsh, fish }

/** Every verb with flags of its own, by all the words that are typed for it: `broker`, `sim run`. */
function typed(verbs: readonly VerbWords[]): VerbWords[] {
  return verbs.flatMap((verb) => [
    verb,
    ...verb.below.map((below) => ({ ...below, name: `${verb.name} ${below.name}` })),
  ])
}

function withBelow(verbs: readonly VerbWords[]): VerbWords[] {
  return verbs.filter(({ below }) => below.length > 0)
}

function bash(verbs: readonly VerbWords[]): string {
  const values = typed(verbs).flatMap(({ name, flags }) =>
    flags
      .filter(({ choices }) => choices.length > 0)
      .map(({ long, choices }) => `    '${name} ${long}') words='${choices.join(' ')}' ;;`),
  )
  const cases = typed(verbs).map(
    ({ name, flags }) => `      '${name}') words='${flags.map(({ long }) => long).join(' ')}' ;;`,
  )
  const below = withBelow(verbs).map(
    ({ name, below }) => `    ${name}) below='${below.map(({ name }) => name).join(' ')}' ;;`,
  )
  return `# spillway completion for bash
_spillway() {
  local verb="\${COMP_WORDS[1]}" word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words='' below=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${verbs.map(({ name }) => name).join(' ')} help --help --version' -- "$word"))
    return
  fi
  case "$verb" in
${below.join('\n')}
  esac
  if [ -n "$below" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then
      COMPREPLY=($(compgen -W "$below --help" -- "$word"))
      return
    fi
    verb="$verb \${COMP_WORDS[2]}"
  fi
  case "$verb $before" in
${values.join('\n')}
  esac
  if [ -z "$words" ] && [[ "$word" == -* ]]; then
    case "$verb" in
${cases.join('\n')}
    esac
  fi
  [ "$verb" = completion ] && [ -z "$words" ] && words='${SHELLS.join(' ')}'
  [ -n "$words" ] && COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _spillway spillway
`
}

function zsh(verbs: readonly VerbWords[]): string {
  const quoted = (text: string) => text.replace(/'/g, "'\\''").replace(/[[\]:]/g, (sign) => `\\${sign}`)
  const described = (words: readonly VerbWords[], indent: string) =>
    words.map(({ name, description }) => `${indent}'${name}:${quoted(description)}'`).join('\n')
  const cases = typed(verbs).map(({ name, flags }) => {
    const specs = flags.map(({ long, description, choices }) => {
      const value = choices.length > 0 ? `:value:(${choices.join(' ')})` : ''
      return `        '*${long}[${quoted(description)}]${value}' \\`
    })
    const rest = name === 'completion' ? `        '1:shell:(${SHELLS.join(' ')})'` : `        '*:file:_files'`
    return `    '${name}')\n      _arguments \\\n${specs.join('\n')}\n${rest} ;;`
  })
  const below = withBelow(verbs).map(
    ({ name, below }) => `    ${name}) verbs=(\n${described(below, '      ')}\n    ) ;;`,
  )
  return `#compdef spillway
_spillway() {
  local -a verbs
  verbs=(
${described(verbs, '    ')}
  )
  if (( CURRENT == 2 )); then
    _describe 'verb' verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  verbs=()
  case $verb in
${below.join('\n')}
  esac
  if (( $#verbs )); then
    if (( CURRENT == 2 )); then
      _describe 'verb' verbs
      return
    fi
    verb="$verb $words[2]"
    shift words
    (( CURRENT-- ))
  fi
  case $verb in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _spillway ]; then _spillway "$@"; else compdef _spillway spillway; fi
`
}

function fish(verbs: readonly VerbWords[]): string {
  const quoted = (text: string) => `'${text.replace(/[\\']/g, (sign) => `\\${sign}`)}'`
  const lines = ['# spillway completion for fish', 'complete -c spillway -n __fish_use_subcommand -f']
  const tellFlags = (condition: string, { flags }: VerbWords) => {
    for (const { long, description, choices } of flags) {
      const values = choices.length > 0 ? ` -x -a ${quoted(choices.join(' '))}` : ''
      lines.push(
        `complete -c spillway -n '${condition}' -l ${long.slice(2)} -d ${quoted(description)}${values}`,
      )
    }
  }
  for (const verb of verbs) {
    const { name, description, below } = verb
    const seen = `__fish_seen_subcommand_from ${name}`
    lines.push(`complete -c spillway -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`)
    if (below.length === 0) tellFlags(seen, verb)
    const others = below.map((other) => other.name).join(' ')
    for (const other of below) {
      lines.push(
        `complete -c spillway -n '${seen}; and not __fish_seen_subcommand_from ${others}' -f -a ${other.name} -d ${quoted(other.description)}`,
      )
      tellFlags(`${seen}; and __fish_seen_subcommand_from ${other.name}`, other)
    }
  }
  lines.push(`complete -c spillway -n '__fish_seen_subcommand_from completion' -f -a '${SHELLS.join(' ')}'`)
  return `${lines.join('\n')}\n`
}
