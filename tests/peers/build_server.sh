#!/usr/bin/env bash
# llama.cpp's own HTTP server, from the sources that the llama-cpp-python package ships: FOLDER/bin/llama-server.
# One job, about 20 minutes; nothing is fetched but that package, and no web page is built in.
set -euo pipefail
folder=$(realpath -m "$1")
needs=$(dirname "$0")/requirements.txt
test ! -x "$folder/bin/llama-server" || exit 0

sources="$folder/sources"
mkdir -p "$sources"
test -x "$folder/bin/python" || python3 -m venv "$folder"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$folder/bin/python" -m pip install -q cmake ninja scikit-build-core $(grep -v -e '^#' -e '^llama' "$needs")
"$folder/bin/python" -m pip download -q --no-deps --no-build-isolation --no-binary :all: \
    -d "$sources" "$(grep '^llama-cpp-python==' "$needs")"
tar xzf "$sources"/llama_cpp_python-*.tar.gz -C "$sources" --strip-components=1

PATH="$folder/bin:$PATH"
cmake -S "$sources/vendor/llama.cpp" -B "$sources/build" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
nice ninja -C "$sources/build" -j 1 llama-server
cp "$sources/build/bin/llama-server" "$folder/bin/"
rm -rf "$sources"
