"""What shells are given to complete with, where Typer's own is not enough.

bash takes `@canary` and `site=luxor` for several words each, and replaces only the last of them. Typer's
script hands on its words as they are; this one hands on the line, and gives back what bash will replace.
"""

import typer._completion_shared as shared

BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT} word before typed
    word=${line##*[[:space:]]}
    IFS=$' \t' read -ra before <<< "$line"
    COMPREPLY=( $( env COMP_WORDS="$line" COMP_CWORD=$(( ${#before[@]} - (${#word} > 0) )) \
                   %(autocomplete_var)s=complete_bash "$1" 2>/dev/null ) )
    word=${word#[\"\']} typed=${2#[\"\']}
    COMPREPLY=( "${COMPREPLY[@]#"${word%%"$typed"}"}" )
}

complete -o default -F %(complete_func)s %(prog_name)s
"""


def mend() -> None:
    """Have `--show-completion` and `--install-completion` give bash the script above."""
    shared._completion_scripts["bash"] = BASH
