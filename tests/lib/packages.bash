# packages.bash - what the build and the tests need, and how to get it on Debian and its kin. Also for tools/demo.sh.

# WHAT PACKAGE: a command, a header below /usr/include or a library; patterns allowed.
hk_needed='
cmake                               cmake
make                                make
gcc                                 gcc
g++                                 g++
clang                               clang
clang-format                        clang-format
clang-tidy                          clang-tidy
cppcheck                            cppcheck
ld.lld                              lld
llvm-ar                             llvm
readelf                             binutils
pkg-config                          pkg-config
python3                             python3
bats                                bats
parallel                            parallel
git                                 git
ps                                  procps
setarch                             util-linux
strace                              strace
man                                 man-db
cmocka.h                            libcmocka-dev
bpf/libbpf.h                        libbpf-dev
libelf.h                            libelf-dev
elfutils/libdwfl.h                  libdw-dev
fuse3/fuse.h                        libfuse3-dev
valgrind                            valgrind
jansson.h                           libjansson-dev
zlib.h                              zlib1g-dev
chromium                            chromium
go                                  golang-go
ncursesw/curses.h                   libncurses-dev
tmux                                tmux
sys/sdt.h                           systemtap-sdt-dev
bpftool                             bpftool
bpftrace                            bpftrace
jq                                  jq
gdb                                 gdb
perf                                linux-perf
gnuplot                             gnuplot-nox
stress-ng                           stress-ng
redis-server                        redis-server
redis-benchmark                     redis-tools
sqlite3                             sqlite3
node                                nodejs
perl                                perl
libmimalloc.so.*                    libmimalloc2.0
libjemalloc.so.*                    libjemalloc2
libtcmalloc_minimal.so.*            libtcmalloc-minimal4
python3*/test/test_dict.py          libpython3-testsuite
'

# The package that `name` stands for: what comes with a version in its name is found by that of the distribution's python3,
# once apt knows the distribution's packages.
hk_package() {
    local found=
    case $1 in
    libpython3-testsuite)
        found=$(apt-cache depends python3 2>/dev/null | sed -nE 's/.*Depends: (python3\.[0-9]+)$/lib\1-testsuite/p') || found=
        ;;
    esac
    echo "${found:-$1}"
}

# hk_have WHAT
hk_have() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && return
    compgen -G "/usr/include/$1" >/dev/null || compgen -G "/usr/include/*-linux-gnu/$1" >/dev/null ||
        compgen -G "/usr/lib/$1" >/dev/null || compgen -G "/usr/lib/*-linux-gnu/$1" >/dev/null
}

hk_missing_packages() {
    local what package
    while read -r what package; do
        [ -z "$what" ] || hk_have "$what" || hk_package "$package"
    done <<<"$hk_needed"
}

# Packages that bring a server start it; what is installed for a test shall not.
hk_without_starting_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    "$@" || status=$?
    rm -f "$policy"
    return "$status"
}

# A package that this distribution doesn't have, under that name or by a package that provides it, is left out: the tests
# that need it then say so.
hk_apt_install() {
    local package known=()
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q || return
    for package in "$@"; do
        package=$(hk_package "$package")
        if [ -n "$(apt-cache madison "$package" 2>/dev/null)" ] || apt-get install -s -q "$package" >/dev/null 2>&1; then
            known+=("$package")
        else
            echo "this distribution has no package $package" >&2
        fi
    done
    [ ${#known[@]} -eq 0 ] || hk_without_starting_services apt-get install -q -y --no-install-recommends "${known[@]}"
}

# install_packages: as root by apt-get, else says what is missing.
install_packages() {
    local missing
    mapfile -t missing < <(hk_missing_packages | sort -u)
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "missing: ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here: install these, or what this distribution calls them"
    elif [ "$(id -u)" -ne 0 ]; then
        echo "to install them, as root: apt-get install ${missing[*]}"
    elif ! hk_apt_install "${missing[@]}"; then
        echo "apt-get failed; going on with what is there" >&2
    fi
}

# mount_for_bpf: bpffs and tracefs, where it may; the tests that need them say so when they are missing.
mount_for_bpf() {
    local type folder
    [ "$(id -u)" -eq 0 ] || return 0
    while read -r type folder; do
        if [ -d "$folder" ] && ! grep -q " $folder $type " /proc/self/mounts && ! mount -t "$type" "$type" "$folder" 2>/dev/null; then
            echo "can't mount $type on $folder"
        fi
    done <<'MOUNTS'
bpf /sys/fs/bpf
tracefs /sys/kernel/tracing
MOUNTS
}
