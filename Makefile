# The menu of ./nox for people who type make: `make` lists it, `make disagg_cpu` runs a session.
# ARGS goes to the session: make disagg_cpu ARGS="--runtime local --keep".
.PHONY: menu
menu:
	@./nox --list

.DEFAULT:
	@./nox --session $@ -- $(ARGS)
