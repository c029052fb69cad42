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
  }
}

const SCRIPTS: { readonly [shell in Shell]: (verbs: readonly VerbWords[]) => string } = { bash, zsh, fish }

function bash(verbs: readonly VerbWords[]): string {
  const values = verbs.flatMap(({ name, flags }) =>
    flags
      .filter(({ choices }) => choices.length > 0)
      .map(({ long, choices }) => `    '${name} ${long}') words='${choices.join(' ')}' ;;`),
  )
  const cases = verbs.map(
    ({ name, flags }) => `      ${name}) words='${flags.map(({ long }) => long).join(' ')}' ;;`,
  )
  return `# spillway completion for bash
_spillway() {
  local verb="\${COMP_WORDS[1]}" word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${verbs.map(({ name }) => name).join(' ')} help --help --version' -- "$word"))
    return
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
  const cases = verbs.map(({ name, flags }) => {
    const specs = flags.map(({ long, description, choices }) => {
      const value = choices.length > 0 ? `:value:(${choices.join(' ')})` : ''
      return `        '*${long}[${quoted(description)}]${value}' \\`
    })
    const rest = name === 'completion' ? `        '1:shell:(${SHELLS.join(' ')})'` : `        '*:file:_files'`
    return `    ${name})\n      _arguments \\\n${specs.join('\n')}\n${rest} ;;`
  })
  return `#compdef spillway
_spillway() {
  local -a verbs
  verbs=(
${verbs.map(({ name, description }) => `    '${name}:${quoted(description)}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'verb' verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
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
  for (const { name, description, flags } of verbs) {
    lines.push(`complete -c spillway -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`)
    for (const { long, description: told, choices } of flags) {
      const values = choices.length > 0 ? ` -x -a ${quoted(choices.join(' '))}` : ''
      lines.push(
        `complete -c spillway -n '__fish_seen_subcommand_from ${name}' -l ${long.slice(2)} -d ${quoted(told)}${values}`,
      )
    }
  }
  lines.push(`complete -c spillway -n '__fish_seen_subcommand_from completion' -f -a '${SHELLS.join(' ')}'`)
  return `${lines.join('\n')}\n`
}
