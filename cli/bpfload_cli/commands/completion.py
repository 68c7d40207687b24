"""`bpfload completion`: what makes a shell complete command lines; the shell then asks this program what may come next."""

from __future__ import annotations

from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

# Each asks for the words behind the program's name and the position among them of the word that is being completed; an answer
# is a line "word<tab>what it is", or ":files", ":dirs" for paths, which the shells complete by rules of their own.
_BASH = r"""# bash completion for bpfload. For another name of it:  complete -F _bpfload NAME
_bpfload() {
    local line current="${COMP_WORDS[COMP_CWORD]}"
    local -a paths
    COMPREPLY=()
    while IFS= read -r line; do
        paths=()
        case "$line" in
        :files) mapfile -t paths < <(compgen -f -- "$current") ;;
        :dirs) mapfile -t paths < <(compgen -d -- "$current") ;;
        *) COMPREPLY+=("$(printf '%q' "${line%%$'\t'*}")") ;;
        esac
        if [[ $line == :* ]]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY+=("${paths[@]}")
        fi
    done < <(command bpfload completion words -- "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null)
}
complete -F _bpfload bpfload
"""
_ZSH = r"""#compdef bpfload
# zsh completion for bpfload. For another name of it:  compdef _bpfload NAME
_bpfload() {
    local line
    local -a found
    while IFS= read -r line; do
        case $line in
        :files) _files ;;
        :dirs) _files -/ ;;
        *) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done < <(command bpfload completion words -- $((CURRENT - 1)) "${words[@]}" 2>/dev/null)
    if (( $#found )); then
        _describe -V bpfload found
    fi
}
if [[ $funcstack[1] == _bpfload ]]; then
    _bpfload "$@"
else
    compdef _bpfload bpfload
fi
"""
_FISH = r"""# fish completion for bpfload. For another name of it:  complete -c NAME -w bpfload
function __bpfload_words
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (command bpfload completion words -- (count $words) $words "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$current"
            case :dirs
                __fish_complete_directories "$current" ''
            case '*'
                echo $line
        end
    end
end
complete -c bpfload -f -a '(__bpfload_words)'
"""


def bash(session: Session, words: Words) -> None:
    """Print what bash reads."""
    _script(session, words, _BASH)


def zsh(session: Session, words: Words) -> None:
    """Print what zsh reads."""
    _script(session, words, _ZSH)


def fish(session: Session, words: Words) -> None:
    """Print what fish reads."""
    _script(session, words, _FISH)


def _script(session: Session, words: Words, text: str) -> None:
    words.end()
    if session.json:
        session.data(text)
    else:
        session.write(text)


def asked(session: Session, words: Words) -> None:
    """Answer a shell: ``words -- POSITION PROGRAM WORD…``, the word at POSITION being the one to complete.

    What other words have been typed is no concern of this command's own grammar; nothing is ever printed to complain.
    """
    from bpfload_cli.completing import candidates, matching

    position = int(words.take("a position")) if words.peek().isdigit() else 0
    line = [words.take("a word") for _ in range(len(words))]
    before, partial = line[1:position], line[position] if position < len(line) else ""
    found = matching(candidates(before, partial), partial)
    session.write(
        "".join(f"{value}\t{about}\n" if about or not value.startswith(":") else f"{value}\n" for value, about in found)
    )


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "completion")


command = CommandTable("completion", (("bash", bash), ("zsh", zsh), ("fish", fish), ("help", usage), ("words", asked)))
