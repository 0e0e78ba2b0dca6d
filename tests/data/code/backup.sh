#!/bin/sh
set -eu

usage()
{
    echo "usage: $0 [-n] FOLDER" >&2
    exit 2
}

dry=
while [ $# -gt 0 ]; do
    case "$1" in
    -n)
        dry=1
        ;;
    -*)
        usage
        ;;
    *)
        folder=$1
        ;;
    esac
    shift
done

if [ ! -d "$folder" ]; then
    echo "$folder is no folder" >&2
    exit 1
fi

find "$folder" -type f -newer "$folder/.last" \
    ! -name '*.tmp' |
    sort >"$folder/.changed"

file="backup-$(date +%F).tar.gz"
if [ -n "$dry" ]; then
    cat "$folder/.changed"
else
    tar --create --gzip \
        --file "$file" \
        --files-from "$folder/.changed"
fi
