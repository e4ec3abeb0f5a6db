# git_history.awk - turns files into a stream for git fast-import in which each grows by a few lines a commit:
#     awk -v step=LINES -f git_history.awk FILE...
function commit(text) {
    print "commit refs/heads/main\ncommitter A Writer <writer@example.org> " 1000000000 + ++commits " +0000"
    print "data " length(text) "\n" text
    print "M 100644 inline " name "\ndata " length(body) "\n" body
}
FNR == 1 {
    if (grown)
        commit("complete " name)
    body = ""
    grown = 0
    name = FILENAME
    sub(/^\/+/, "", name)
}
{
    body = body $0 "\n"
    if (grown = (FNR % step != 0))
        next
    commit(name " to line " FNR)
}
END {
    if (grown)
        commit("complete " name)
    print "done"
}
