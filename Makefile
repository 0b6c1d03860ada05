.PHONY: setup lock
setup: ; scripts/setup
lock: ; uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --no-annotate -q -o requirements.lock
