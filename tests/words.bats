# words.bats - what may not stand in the tree.
# bats: beside
load lib/common

project_git() { # root may look at another user's checkout
    git -c safe.directory='*' -C "$HAKMEM_SOURCE" "$@"
}

# The project's own files: what git tracks, or would.
project_files() {
    project_git ls-files -z --cached --others --exclude-standard | sort -zu
}

# none_with PATTERN [EXCEPT]: no file of the project has a line that matches; this file's own patterns aside.
none_with() {
    local hits
    cd "$HAKMEM_SOURCE"
    hits=$(project_files | grep -zv '^tests/words.bats$' | xargs -0 grep -InE -e "$1" /dev/null | grep -vE -e "${2:-^$}") ||
        [ $? -eq 1 ]
    [ -z "$hits" ] || fail "$hits"
}

setup() {
    require_command git
    project_git rev-parse --git-dir >/dev/null 2>&1 || skip_or_fail "needs the git tree that the files belong to"
    [ "$(project_files | tr '\0' '\n' | wc -l)" -gt 20 ]
}

@test "nothing is left for later" {
    none_with '\b(TODO|FIXME|XXX|HACK)\b'
}

@test "no file names a folder of the machine it was written on" {
    none_with '(^|[^A-Za-z0-9_.$}*-])/(work|home|root|Users)/'
}

@test "no check hides its failure" {
    none_with '\|\| *(true|:)( |$|;|\))'
}

@test "text ends with one newline, has no tab in C, and no white space at the end of a line" {
    local bad
    cd "$HAKMEM_SOURCE"
    bad=$(project_files | xargs -0 grep -lIE '[[:blank:]]+$' /dev/null | sort)
    [ -z "$bad" ] || fail "white space at the end of a line: $bad"
    bad=$(project_files | grep -zE '\.(c|h|cc|def)$' | xargs -0 grep -lP '\t' /dev/null | sort)
    [ -z "$bad" ] || fail "a tab: $bad"
    while IFS= read -r -d '' file; do
        [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file" | tr -d '\n\0')" ] || ! grep -qI . "$file" || fail "no newline at the end: $file"
    done < <(project_files)
}
