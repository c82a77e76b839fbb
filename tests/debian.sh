# Sourced: `debian PACKAGE FILE` unpacks a package of Debian below target/tools/debian unless FILE is there.
tools="$PWD/target/tools"
mkdir -p "$tools/debian" "$tools/python"

debian() { # PACKAGE FILE
    [ -e "$tools/debian/$2" ] && return
    if ! command -v apt-get >/dev/null; then
        echo "the tests need Debian's $1 (unpacked below target/tools/debian); this machine has no apt-get" >&2
        exit 1
    fi
    local downloads
    downloads=$(mktemp -d)
    (
        cd "$downloads"
        apt-get download -q "$1" >apt.log 2>&1 || {
            # The package lists may be missing or old; fetching them needs root.
            if [ "$(id -u)" = 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
            apt-get download -q "$1" >apt.log 2>&1 || { cat apt.log >&2; exit 1; }
        }
        dpkg -x ./*.deb "$tools/debian"
    )
    rm -rf "$downloads"
    [ -e "$tools/debian/$2" ] || { echo "Debian's $1 does not hold $2" >&2; exit 1; }
}
