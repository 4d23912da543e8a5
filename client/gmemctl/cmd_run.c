/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "run.h"

/* A command that could not be executed: as shells have it. */
enum {
	CANNOT_EXECUTE = 126,
	NOT_FOUND = 127,
};

static int run_help(void)
{
	puts("gmemctl run --keep-domain NAME --size SIZE [OPTION...] -- COMMAND [ARGUMENT...]\n"
	     "gmemctl run --attach NAME [--take-over] [--token-dir FOLDER] -- COMMAND "
	     "[ARGUMENT...]\n\n"
	     "Runs a VMM on memory that outlives it. In the command's words\n"
	     "  {mem}   is the path of the memory, /proc/self/fd/N\n"
	     "  {fd}    is N, the open fd that the command inherits\n"
	     "  {size}  is the memory's size in bytes\n\n"
	     "  --keep-domain NAME  make a persistent domain NAME\n"
	     "  --size SIZE         bytes, with suffix K M G T\n"
	     "  --kind KIND         memfd (default); guest-memfd has no {mem}\n"
	     "  --page-size SIZE    4K (default), 2M, 1G\n"
	     "  --numa-nodes LIST   such as 0-1,3; default any\n"
	     "  --slot POOL         hold a hardware slot, see doctor\n"
	     "  --memlock SIZE      how much more memory the command may lock\n"
	     "  --allocate          allocate every page first\n"
	     "  --attach NAME       the domain that an earlier run has kept\n"
	     "  --take-over         also from a command that still runs, which is killed\n"
	     "  --token-dir FOLDER  of NAME.token; default $XDG_RUNTIME_DIR/gmemctl, else\n"
	     "                      /run/gmemctl\n\n"
	     "The exit status is the command's; 128 + the signal that ended it; 126 or 127 when "
	     "it\n"
	     "could not be executed. SIGINT, SIGQUIT, SIGTERM and SIGHUP are passed on to it.");
	return CTL_OK;
}

static int parse_option(struct run *run, int option, const char *value)
{
	switch (option) {
	case 's':
		return parse_size(value, &run->region_spec.size);
	case 'k':
		run->domain_spec.kind = value;
		return 0;
	case 'K':
		run->domain_spec.name = value;
		return 0;
	case 'p':
		return parse_size(value, &run->region_spec.page_size);
	case 'N':
		return parse_nodes(value, &run->region_spec.numa_nodes);
	case 'S':
		run->domain_spec.slot = value;
		return 0;
	case 'm':
		return parse_size(value, &run->memlock);
	case 'd':
		run->folder = value;
		return 0;
	case 'A':
		run->attach = value;
		return 0;
	case 't':
		run->take_over = true;
		return 0;
	default:
		run->allocate = true;
		return 0;
	}
}

static int check_options(const struct run *run)
{
	const struct ctl *ctl = run->ctl;

	if (!run->attach == !run->domain_spec.name)
		return ctl_complain(ctl, CTL_USAGE,
				    "run takes one of --keep-domain NAME and --attach NAME");
	if (run->attach &&
	    (run->region_spec.size || run->region_spec.page_size || run->region_spec.numa_nodes ||
	     run->domain_spec.kind || run->domain_spec.slot || run->allocate))
		return ctl_complain(ctl, CTL_USAGE,
				    "--attach takes the memory as it is: no --size, --kind, "
				    "--page-size, --numa-nodes, --slot or --allocate");
	if (!run->attach && run->take_over)
		return ctl_complain(ctl, CTL_USAGE, "--take-over goes with --attach");
	if (!run->attach && run->region_spec.size == 0)
		return ctl_complain(ctl, CTL_USAGE, "--keep-domain needs --size");
	if (!run->command[0])
		return ctl_complain(ctl, CTL_USAGE, "run needs -- COMMAND");
	if (!run_words_have(run->command, "{mem}") && !run_words_have(run->command, "{fd}"))
		return ctl_complain(ctl, CTL_USAGE,
				    "neither {mem} nor {fd} is in the command: it would not run on "
				    "this memory");
	return CTL_OK;
}

static int parse(struct run *run, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "keep-domain", required_argument, NULL, 'K' },
		{ "size", required_argument, NULL, 's' },
		{ "kind", required_argument, NULL, 'k' },
		{ "page-size", required_argument, NULL, 'p' },
		{ "numa-nodes", required_argument, NULL, 'N' },
		{ "slot", required_argument, NULL, 'S' },
		{ "memlock", required_argument, NULL, 'm' },
		{ "allocate", no_argument, NULL, 'a' },
		{ "attach", required_argument, NULL, 'A' },
		{ "take-over", no_argument, NULL, 't' },
		{ "token-dir", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		if (option == '?')
			return CTL_USAGE;
		if (parse_option(run, option, optarg) < 0)
			return ctl_complain(run->ctl, CTL_USAGE, "cannot read \"%s\"", optarg);
	}
	run->command = argv + optind;
	return check_options(run);
}

/* On standard error, and in one line: standard output is the command's. */
static void report(const struct run *run, pid_t pid)
{
	const char *name = run->attach ? run->attach : run->domain_spec.name;
	json_object *tree = json_object_new_object();
	char size[CTL_SIZE_TEXT];

	json_object_object_add(tree, "domain", ctl_json_id(gmem_domain_id(run->domain)));
	json_object_object_add(tree, "region", ctl_json_id(gmem_region_id(run->region)));
	json_object_object_add(tree, "name", json_object_new_string(name));
	json_object_object_add(tree, "size", json_object_new_uint64(gmem_region_size(run->region)));
	json_object_object_add(tree, "fd", json_object_new_int(gmem_region_fd(run->region)));
	json_object_object_add(tree, "pid", json_object_new_int(pid));
	json_object_object_add(tree, "token_file", json_object_new_string(run->place.token));
	if (run->ctl->json)
		fprintf(stderr, "%s\n",
			json_object_to_json_string_ext(tree, JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		fprintf(stderr, "gmemctl: pid %d runs on domain %s (%s), %s\n", (int)pid,
			ctl_text(tree, "domain"), name,
			ctl_size_text(gmem_region_size(run->region), size));
	json_object_put(tree);
}

/* What a shell has for it when the command does not run. */
static int start(const struct run *run, pid_t *ret_pid)
{
	const struct run_memory memory = { .fd = gmem_region_fd(run->region),
					   .size = gmem_region_size(run->region) };
	const int inherited[] = { memory.fd, run->place.lock_fd };
	struct run_child child = { .inherited = inherited,
				   .n_inherited = sizeof(inherited) / sizeof(inherited[0]) };
	int r;

	if (run_signals_pending(&run->signals))
		return RUN_SIGNALLED + run_signals_pending(&run->signals);
	(void)gmem_dispatch(run->ctl->client);
	if (run->session.lost)
		return ctl_complain(run->ctl, CTL_FAILED, "%s", run->session.lost);
	child.words = run_words_fill(run->command, &memory);
	if (!child.words)
		return ctl_complain(run->ctl, CTL_FAILED, "out of memory");
	r = run_child_start(&child, &run->signals, ret_pid);
	run_words_free(child.words);
	if (r < 0)
		return ctl_complain(run->ctl, r == -ENOENT ? NOT_FOUND : CANNOT_EXECUTE, "%s: %s",
				    run->command[0], strerror(-r));
	return CTL_OK;
}

static int run_command(struct run *run)
{
	pid_t pid = 0;
	int r;

	r = run->attach ? run_attach(run) : run_keep(run);
	if (r != CTL_OK)
		return r;
	/* The command is born with the limits that gmemctl has. */
	if (run->memlock && gmem_domain_set_memlock(run->domain, run->memlock, NULL) < 0)
		r = ctl_fail(run->ctl, "memlock");
	if (r == CTL_OK)
		r = start(run, &pid);
	if (r != CTL_OK) {
		if (!run->attach)
			run_undo(run);
		return r;
	}
	run_place_note_pid(&run->place, pid);
	report(run, pid);
	return run_child_watch(run->ctl, pid, &run->signals, &run->session);
}

int cmd_run(struct ctl *ctl, int argc, char **argv)
{
	struct run run = { .ctl = ctl, .place = RUN_PLACE_NULL };
	int r;

	if (!ctl->client)
		return run_help();
	r = parse(&run, argc, argv);
	if (r == CTL_OK)
		r = run_place_open(ctl, run.folder, run.attach ? run.attach : run.domain_spec.name,
				   &run.place);
	if (r == CTL_OK) {
		r = run_signals_hold(&run.signals);
		if (r < 0)
			r = ctl_complain(ctl, CTL_FAILED, "signals: %s", strerror(-r));
	}
	if (r == CTL_OK) {
		gmem_client_on_event(ctl->client, run_session_event, &run.session);
		r = run_command(&run);
	}
	/* The handler's argument lives here. */
	gmem_client_on_event(ctl->client, NULL, NULL);
	run_place_close(&run.place);
	return r;
}
