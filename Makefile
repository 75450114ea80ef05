# Everything is built in release, so that the program and the tests share one build tree.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test lint bench docs wheel install clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## libtorch and Arrow into .deps (every other target does this itself)
	@Scripts/setup

build: setup ## .build/release/coppice, prune_minitron and the two libraries beside them
	@swift build -c release

demo: build ## prune the bundled model to a budget, evaluate it before and after, let it speak
	@rm -rf out/demo out/demo-scores out/demo-scores-recovered
	@Scripts/demo

test: ## the Swift tests, then the comparisons against PyTorch, transformers and tokenizers
	@Scripts/setup --tests
	@swift build -c release
	@Scripts/test

lint: ## formatting, lengths, traps, and that every script parses
	@Scripts/lint

bench: build ## side by side with PyTorch
	@Scripts/setup --tests
	@Benchmarks/run

wheel: ## a Python wheel of the programs, in out/wheel
	@Scripts/wheel

PREFIX ?= /usr/local
install: ## the programs into PREFIX (/usr/local), with all that they run on
	@Scripts/install "$(PREFIX)"

docs: build ## the library's documentation, by DocC, in out/docs
	@Scripts/docs

clean: ## what was built and what the demo wrote
	@rm -rf .build out

distclean: clean ## that, and everything Scripts/setup fetched
	@rm -rf .deps
