/**
 * `weft completions`: prints the script that makes a shell complete weft's command line. The script queries weft
 * itself, so it is never outdated.
 */

import { ExitStatus } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";

/**
 * The word with which the scripts query candidates. The words of the command line follow, up to the one being typed.
 */
export const COMPLETE = "__complete";

const BASH = `_weft() {
  local line lines cur=\${COMP_WORDS[COMP_CWORD]}
  [ "$cur" != = ] || cur=
  COMPREPLY=()
  mapfile -t lines < <("\${COMP_WORDS[0]}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  case \${lines[0]} in
    files) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2>/dev/null ;;
    directories) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames 2>/dev/null ;;
    values) for line in "\${lines[@]:1}"; do COMPREPLY+=("\${line%%$'\\t'*}"); done ;;
  esac
}
complete -F _weft weft`;

const ZSH = `#compdef weft
_weft() {
  local line
  local -a lines values
  lines=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  case \${lines[1]} in
    files) _files ;;
    directories) _files -/ ;;
    values)
      for line in "\${(@)lines[2,-1]}"; do
        [[ $line == *$'\\t'* ]] && values+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") || values+=("\${line//:/\\\\:}")
      done
      _describe weft values ;;
  esac
}
if [[ \${funcstack[1]} == _weft ]]; then _weft "$@"; else compdef _weft weft; fi`;

const FISH = `function __weft_complete
    set -l words (commandline -opc)
    set -l lines ($words[1] __complete $words[2..] (commandline -ct) 2>/dev/null)
    switch $lines[1]
        case files
            __fish_complete_path (commandline -ct)
        case directories
            __fish_complete_directories (commandline -ct)
        case values
            printf '%s\\n' $lines[2..]
    end
end
complete -c weft -f -a '(__weft_complete)'`;

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;

export const completions = declareSubcommand({
  name: "completions",
  group: "Other",
  summary: "print a completion script for a shell",
  description: [
    "Prints a script that completes subcommands, options and their values at the Tab key. The script queries weft for candidates, so it always matches the installed build.",
  ],
  arguments: { shell: { value: "SHELL", about: "the shell", choices: ["bash", "zsh", "fish"] } },
  options: {},
  examples: [
    { line: "completions bash >/etc/bash_completion.d/weft", about: "install completion for all users of bash" },
    { line: "completions zsh >/usr/share/zsh/site-functions/_weft", about: "install completion for zsh" },
    { line: "completions fish >/usr/share/fish/vendor_completions.d/weft.fish", about: "install completion for fish" },
  ],
  printsData: false,
  run: ({ arguments: { shell } }) => ({
    status: ExitStatus.done,
    blocks: [{ kind: "text", text: SCRIPTS[shell as keyof typeof SCRIPTS], isVerbatim: true }],
  }),
});
