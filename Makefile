# Every target sets up what it needs; you need only Python 3.11+, make and git.
PYTHON ?= python3
PORT ?= 8000
ENGINE ?= docker
IMAGE ?= image-recognition
BIN := .venv/bin
# TORCH=cpu: the environment has torch without CUDA, and stays so until 'make clean'.
BUILD := $(if $(filter cpu,$(TORCH)),cpu,$(if $(wildcard .venv/ready-cpu),cpu))
READY := .venv/ready$(BUILD:%=-%)

export BENTOML_DO_NOT_TRACK := True

.DEFAULT_GOAL := help
.PHONY: help setup model serve dev demo test test-readme test-slow test-all coverage test-container test-clients test-bulk bulk sweep fuzz soak audit \
	benchmark benchmark-bulk check format bento container torch-index image-layers lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target what; do \
		printf '%-21s %s\n' "$$target" "$$what"; done

setup: $(READY) ## create the environment in .venv from the pinned and hashed list (TORCH=cpu: without CUDA's 4 GB)

$(READY): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "This Python cannot create environments: install its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "Creating the environment in .venv: about $(if $(BUILD),2 GB,6 GB with CUDA); the first time takes minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt > .venv/uv.txt
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes -r .venv/uv.txt
	@sed -E $(if $(BUILD),$(ANY_BUILD)) -e '' requirements-dev.txt > .venv/requirements.txt
	@$(if $(BUILD),$(FROM)) $(BIN)/uv pip sync --python $(BIN)/python .venv/requirements.txt \
		$(if $(BUILD),$(if $(FROM),,--torch-backend cpu),--require-hashes)
	@rm -f .venv/ready .venv/ready-cpu && touch $@

FROM := $(if $(TORCH_INDEX),UV_EXTRA_INDEX_URL=$(TORCH_INDEX) UV_INDEX_STRATEGY=unsafe-best-match)

model: $(READY) ## store the default network, unless it is already in the model store
	@$(BIN)/python save_model.py --if-missing

serve: model ## serve on port 8000 (PORT=...; BENTOML_HOST=127.0.0.1: only to this machine; TORCH=cpu: torch without CUDA)
	@echo "Starting the service on http://localhost:$(PORT) ..."
	$(BIN)/bentoml serve service:ImageRecognition --port $(PORT)

dev: model ## serve, and restart when a file changes
	$(BIN)/bentoml serve service:ImageRecognition --port $(PORT) --reload

demo: $(READY) ## send an image to the running service; print the classes and the path of the heatmap
	@$(BIN)/python -m src.demo --url http://localhost:$(PORT)

test: export PYTHONDONTWRITEBYTECODE = # its many processes share compiled bytecode
test: $(READY) ## run the tests, except the long ones
	$(BIN)/python -m pytest

test-container: $(READY) ## build the Docker image, inspect it, run it hardened (SKIP_CONTAINER_TESTS=1 skips this)
	$(BIN)/python -m pytest -m container -n 0 --timeout 600 tests/container

test-clients: $(READY) ## run generated clients in Python and TypeScript, and a browser behind a proxy (npm, nginx, chromium)
	$(BIN)/python -m pytest -m clients -n 0 tests/clients

test-bulk: bulk ## run src.bulk on Ray clusters on this machine, and kill their nodes
	$(BIN)/python -m pytest -m bulk -n 0 tests/archive

benchmark-bulk: bulk ## compare src.bulk with its libraries alone and the usual recipe; results in benchmarks/bulk.md (15 minutes)
	$(BIN)/python -m tests.archive.benchmark

bulk: $(READY) ## install what python -m src.bulk needs
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-bulk.txt

test-readme: $(READY) ## follow the README from a folder of images to a served model (2 minutes)
	$(BIN)/python -m pytest -m readme -n 0 tests/test_own_model.py

test-slow: $(READY) ## test the API against its OpenAPI document with many examples, and run a short soak
	$(BIN)/python -m pytest -m slow -n 0

test-all: test test-readme test-slow sweep ## run the tests that need no other programs, long ones and the sweep over every architecture included

coverage: bulk ## run the tests and show which branches of src they miss; at least 95 % must be covered
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage run -m pytest -m bulk -n 0 tests/archive
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

sweep: $(READY) ## capture, explain, store and serve every architecture; the table is in sweep/ (an hour, 8 GB; ARCH=timm/test_vit: one)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.sweep $(ARCH)

fuzz: $(READY) ## decode damaged images of every format (RUNS=100000 by mutation and as many by coverage: 4 minutes)
	$(BIN)/python -m tests.fuzz --runs $(RUNS)
	$(BIN)/python -m tests.fuzz.coverage -runs=$(RUNS) -artifact_prefix=fuzz/ fuzz/corpus

RUNS ?= 100000

soak: $(READY) ## send ten times the capacity for a minute, then 100,000 mixed requests (20 minutes)
	$(BIN)/python -m tests.soak

audit: $(READY) ## look up every pinned package in PyPI's advisory database
	@$(BIN)/uv run --no-project --with pip-audit pip-audit --require-hashes --disable-pip --strict --requirement requirements.txt \
		|| { echo "A package has a known vulnerability, or the database could not be reached: see above"; exit 1; }

benchmark: $(READY) ## compare the service with others; results in benchmarks/ (40 minutes; QUICK=--quick: 3)
	$(BIN)/python -m tests.benchmarks $(QUICK)

check: $(READY) ## lint, check spelling and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: $(READY) ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bento: model ## build the bento
	$(BIN)/bentoml build $(if $(TORCH),-f bentofile.torch.yaml)

container: $(if $(filter cpu,$(TORCH)),torch-index) bento ## build the Docker image (TORCH=1: with torch; TORCH_INDEX=...: from this index; ENGINE=podman)
	UV_EXTRA_INDEX_URL=$(TORCH_INDEX) $(BIN)/bentoml containerize --backend $(ENGINE) image_recognition:latest \
		$$($(BIN)/bentoml get image_recognition:latest --output json | $(BIN)/python deploy/image.py $(IMAGE))
	@echo "Run it: $(ENGINE) run --rm -p 8000:8000 $(IMAGE)$(if $(TORCH),:torch)"

torch-index:
	@test -n "$(TORCH_INDEX)" || { echo "An image with torch for CPUs needs PyTorch's index for CPUs: TORCH_INDEX=..."; exit 1; }

image-layers: ## show the size of the image by layer and by Python package
	@$(ENGINE) history --no-trunc --format '{{.Size}}	{{.CreatedBy}}' $(IMAGE) \
		| sed -E '/^0B/d; s/RUN .*\/bin\/sh -c /RUN /; s/[A-Z_]+="\$$\(cat [^)]*\)" //g; s/ +/ /g' | cut -c1-150
	@$(ENGINE) run --rm --entrypoint sh $(IMAGE) -c 'du -sm $$VIRTUAL_ENV/lib/python3*/site-packages/* | sort -rn | head -20'

lock: $(READY) ## pin the newest dependencies that fit pyproject.toml, with hashes (UPGRADE=: only missing ones)
	$(BIN)/uv pip compile pyproject.toml $(UPGRADE) --output-file requirements.txt $(LOCK)
	$(BIN)/uv pip compile pyproject.toml --group dev --extra heic --extra save --constraint requirements.txt \
		--output-file requirements-dev.txt $(LOCK)
	$(BIN)/uv pip compile pyproject.toml --extra torch --constraint requirements-dev.txt \
		--output-file requirements-torch.txt $(LOCK)
	$(BIN)/uv pip compile pyproject.toml --extra bulk --group bulk-tests --constraint requirements-dev.txt \
		--output-file requirements-bulk.txt $(LOCK)
	sed -i.all -E $(ANY_BUILD) requirements-torch.txt && rm requirements-torch.txt.all

UPGRADE ?= --upgrade
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
# Any build of torch is allowed, with or without CUDA: its hashes and CUDA's libraries, which torch itself pins, are removed.
ANY_BUILD := -e '/^nvidia-ml-py/!{ /^(nvidia|cuda|triton)[a-z0-9-]*==/,/[^\\]$$/d; }' \
	-e '/^torch(vision)?==/,/[^\\]$$/{ s/ *\\$$//; /--hash/d; }'

clean: ## remove the environment, the tools' caches, and what demo and fuzz wrote
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* demo fuzz
