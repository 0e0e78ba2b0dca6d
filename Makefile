# The commands of this project; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --progress-bar off -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup editors picture demo test soak check bench peers llama setup-ray test-ray clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make the environment in .venv, with the console script

$(READY): pyproject.toml constraints.txt
	@echo "==> making $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "==> installing torch, transformers and the rest"
	@$(PIP) -q -e '.[serve,bench,dev]'
	@touch $@

editors: ## real editors in .cache/editors, for their tests: VS Code, Neovim, Emacs, Helix
	@tests/editors/install.sh .cache/editors
	@cd editors/vscode && PATH="$(CURDIR)/.cache/editors/tools/bin:$$PATH" npm ci --no-progress

picture: $(READY) editors ## the README's picture of VS Code anew, in the real one
	@$(BIN)/python -m tests.editors.picture

demo: $(READY) ## a real completion of a real file through the real server, with its speed
	@$(BIN)/python -m pass_lsp.bench.demo

test: $(READY) ## run all tests, those of the editors behind the others, one by one
	@$(BIN)/python -m pytest -n auto --dist worksteal --ignore=tests/editors
	@$(BIN)/python -m pytest tests/editors

soak: $(READY) ## two hours of typing in compressed time: memory must not grow (a minute or two)
	@$(BIN)/python -m pytest -m soak

setup-ray: $(READY) ## add Ray to .venv, for `pass-lsp deploy` (0.5 GB)
	@$(PIP) -q -e '.[ray]'

test-ray: setup-ray ## two replicas on a real Ray: affinity, overload, kill -9, update (a minute or two)
	@$(BIN)/python -m pytest -m ray

check: $(READY) ## lint, format and types; the layers are tested in `make test`
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

bench: $(READY) ## measure decoding, infilling and latency here; write the README's table and RESULTS.md
	@$(BIN)/python -m pass_lsp.bench.report

peers: $(READY) ## compare with llama.cpp on the same weights (its build takes 10 minutes and more)
	@test -x .cache/peers/bin/python || $(PYTHON) -m venv .cache/peers
	@.cache/peers/bin/python -m pip install -q --disable-pip-version-check -r tests/peers/requirements.txt
	@$(BIN)/python -m tests.peers.compare --json .cache/bench/peers.json

llama: ## build llama.cpp's own server, for its tests in `make test` (20 minutes)
	@tests/peers/build_server.sh .cache/peers

clean: ## remove the environment and caches
	rm -rf $(VENV) .cache/pytest .cache/tests .ruff_cache .pytest_cache build dist
