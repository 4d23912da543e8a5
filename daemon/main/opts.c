/* SPDX-License-Identifier: Apache-2.0 */
#include "opts.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "gm_check.h"

#define GM_SOCKET_MODE_DEFAULT 0660
#define GM_WORKERS_DEFAULT 64
#define GM_WORKERS_MAX 4096
#define GM_WATCHDOG_MAX 3600
#define GM_RESTART_DEFAULT_MS 1000
#define GM_RESTART_MAX_MS 3600000

/* Sanitizers need system calls that the filter has not got. */
#ifdef GMEMD_SANITIZED
#define GM_SANDBOX_DEFAULT GM_SANDBOX_OFF
#else
#define GM_SANDBOX_DEFAULT GM_SANDBOX_ENFORCE
#endif

const char gm_opts_help[] =
	"Usage: gmemd [OPTION]...\n"
	"Owns the memory of this host's guests and hands it to their VMMs.\n"
	"\n"
	"  --listen NAME=PATH      serve the tenant NAME at a socket at PATH\n"
	"  --admin PATH            serve the operator at a socket at PATH (mode 0600)\n"
	"  --policy [NAME=]FILE    [X-Gmemd] section for the tenant NAME, or for every tenant\n"
	"  --unit-root DIR         read everybody's policy from unit files, too, and those below "
	"DIR\n"
	"  --socket-mode MODE      of the tenants' sockets, octal (0660)\n"
	"  --log-level LEVEL       err, warning, notice, info or debug (info)\n"
	"  --sandbox MODE          enforce, log or off (enforce)\n"
	"  --workers N             worker processes at one time (64); 0: no allocate, no discard\n"
	"  --charge WHOM           who pays for what workers do: vmm, whoever asks, or the job is\n"
	"                          refused; gmemd; auto, whoever asks where that can be (auto)\n"
	"  --cgroup-root DIR       use the control groups that are mounted at DIR or below it "
	"only\n"
	"  --store WHERE           fdstore: the service manager keeps what is not to be lost; "
	"none\n"
	"                          (none, but with --keep its keeper does)\n"
	"  --keep                  start gmemd again when it dies, and lose nothing meanwhile\n"
	"  --watchdog SECONDS      with --keep: kill it when it hangs for so long\n"
	"  --restart-max MS        with --keep: longest wait before it is started again (1000)\n"
	"  --check-policy WHAT     check a policy file, gmemd@NAME.socket, gmemd.service, or\n"
	"                          all of the units (the word \"all\") and exit\n"
	"  --probe                 write what this host can do, as a packed HOST answer, and exit\n"
	"  --version, --help\n"
	"\n"
	"Sockets that a service manager passes on are served too: \"gmemd@NAME.socket\" or "
	"\"NAME\" is\n"
	"the tenant NAME, \"gmemd-admin.socket\" or \"admin\" the operator. SIGHUP reads the "
	"policies\n"
	"again, SIGTERM waits for jobs and stops, a second SIGTERM does not wait. See gmemd(8).\n";

struct word {
	const char *name;
	int value;
};

static const struct word log_levels[] = {
	{ "err", LOG_ERR },   { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO }, { "debug", LOG_DEBUG },
};

static const struct word sandbox_modes[] = {
	{ "enforce", GM_SANDBOX_ENFORCE },
	{ "log", GM_SANDBOX_LOG },
	{ "off", GM_SANDBOX_OFF },
};

static const struct word charges[] = {
	{ "vmm", GM_CHARGE_VMM },
	{ "auto", GM_CHARGE_AUTO },
	{ "gmemd", GM_CHARGE_GMEMD },
};

static const struct word stores[] = {
	{ "none", 0 },
	{ "fdstore", 1 },
};

/* A macro, so that each format is checked where it stands. */
#define FAULT(buffer, ...) (snprintf((buffer), GM_OPTS_FAULT_MAX, __VA_ARGS__), -EINVAL)

static int find_word(const struct word *words, size_t n_words, const char *option,
		     const char *value, int *ret_value, char *ret_fault)
{
	for (size_t i = 0; i < n_words; i++) {
		if (strcmp(words[i].name, value) == 0) {
			*ret_value = words[i].value;
			return 0;
		}
	}
	return FAULT(ret_fault, "%s: \"%.64s\" is not one of its values, see --help", option,
		     value);
}

static int parse_number(const char *option, const char *value, int base, unsigned long max,
			unsigned long *ret_number, char *ret_fault)
{
	char *end;

	errno = 0;
	*ret_number = strtoul(value, &end, base);
	if (errno || *end != '\0' || *value < '0' || *value > '9' || *ret_number > max)
		return FAULT(ret_fault,
			     base == 8 ? "%s: \"%.64s\" is not an octal number up to %lo"
				       : "%s: \"%.64s\" is not a number up to %lu",
			     option, value, max);
	return 0;
}

/* Is there a tenant's name before the first '='? */
static bool take_name(const char *value, struct gm_opts_pair *pair)
{
	const char *equals = strchr(value, '=');
	size_t length = equals ? (size_t)(equals - value) : 0;

	if (!equals || !gm_name_is_valid(value, length, GM_NAME_MAX))
		return false;
	memcpy(pair->name, value, length);
	pair->name[length] = '\0';
	pair->path = equals + 1;
	return true;
}

static int add_listen(struct gm_opts *opts, const char *value, char *ret_fault)
{
	struct gm_opts_pair *pair = &opts->listens[opts->n_listens];

	if (opts->n_listens == GM_OPTS_LISTENS_MAX)
		return FAULT(ret_fault, "--listen: more than %d sockets", GM_OPTS_LISTENS_MAX);
	if (!take_name(value, pair) || pair->path[0] == '\0')
		return FAULT(ret_fault,
			     "--listen: \"%.100s\" is not NAME=PATH with a name of 1 to %d of "
			     "[A-Za-z0-9._:-]",
			     value, GM_NAME_MAX);
	if (strcmp(pair->name, "admin") == 0)
		return FAULT(ret_fault,
			     "--listen: the name \"admin\" is the operator's, use --admin");
	opts->n_listens++;
	return 0;
}

/* A '=' further on, as in /etc/gmemd/a=b, is the path's own. */
static int add_policy(struct gm_opts *opts, const char *value, char *ret_fault)
{
	struct gm_opts_pair *pair = &opts->policies[opts->n_policies];

	if (opts->n_policies == GM_OPTS_POLICIES_MAX)
		return FAULT(ret_fault, "--policy: more than %d files", GM_OPTS_POLICIES_MAX);
	if (!take_name(value, pair)) {
		pair->name[0] = '\0';
		pair->path = value;
	}
	if (pair->path[0] == '\0')
		return FAULT(ret_fault, "--policy: no file in \"%.100s\"", value);
	opts->n_policies++;
	return 0;
}

enum {
	OPT_LISTEN = 256,
	OPT_ADMIN,
	OPT_POLICY,
	OPT_UNIT_ROOT,
	OPT_SOCKET_MODE,
	OPT_LOG_LEVEL,
	OPT_SANDBOX,
	OPT_WORKERS,
	OPT_CHARGE,
	OPT_CGROUP_ROOT,
	OPT_STORE,
	OPT_KEEP,
	OPT_WATCHDOG,
	OPT_RESTART_MAX,
	OPT_PROBE,
	OPT_CHECK_POLICY,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "admin", required_argument, NULL, OPT_ADMIN },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "unit-root", required_argument, NULL, OPT_UNIT_ROOT },
	{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "charge", required_argument, NULL, OPT_CHARGE },
	{ "cgroup-root", required_argument, NULL, OPT_CGROUP_ROOT },
	{ "store", required_argument, NULL, OPT_STORE },
	{ "keep", no_argument, NULL, OPT_KEEP },
	{ "watchdog", required_argument, NULL, OPT_WATCHDOG },
	{ "restart-max", required_argument, NULL, OPT_RESTART_MAX },
	{ "probe", no_argument, NULL, OPT_PROBE },
	{ "check-policy", required_argument, NULL, OPT_CHECK_POLICY },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int set_value(struct gm_opts *opts, int option, const char *value, char *ret_fault)
{
	unsigned long number = 0;
	int word = 0, error;

	switch (option) {
	case OPT_SOCKET_MODE:
		error = parse_number("--socket-mode", value, 8, 0777, &number, ret_fault);
		opts->socket_mode = (mode_t)number;
		return error;
	case OPT_WORKERS:
		error = parse_number("--workers", value, 10, GM_WORKERS_MAX, &number, ret_fault);
		opts->workers = (uint32_t)number;
		return error;
	case OPT_CHARGE:
		error = find_word(charges, GM_ARRAY_SIZE(charges), "--charge", value, &word,
				  ret_fault);
		opts->charge = (enum gm_charge_mode)word;
		return error;
	case OPT_STORE:
		error = find_word(stores, GM_ARRAY_SIZE(stores), "--store", value, &word,
				  ret_fault);
		opts->fd_store = word != 0;
		return error;
	case OPT_WATCHDOG:
		error = parse_number("--watchdog", value, 10, GM_WATCHDOG_MAX, &number, ret_fault);
		opts->watchdog_ms = (uint32_t)number * 1000;
		return error;
	case OPT_RESTART_MAX:
		error = parse_number("--restart-max", value, 10, GM_RESTART_MAX_MS, &number,
				     ret_fault);
		opts->restart_max_ms = (uint32_t)number;
		return error;
	case OPT_LOG_LEVEL:
		error = find_word(log_levels, GM_ARRAY_SIZE(log_levels), "--log-level", value,
				  &word, ret_fault);
		opts->log_level = word;
		return error;
	default:
		error = find_word(sandbox_modes, GM_ARRAY_SIZE(sandbox_modes), "--sandbox", value,
				  &word, ret_fault);
		opts->sandbox = (enum gm_sandbox_mode)word;
		return error;
	}
}

static int set_folder(const char *option, const char *value, const char **ret_folder,
		      char *ret_fault)
{
	if (value[0] != '/')
		return FAULT(ret_fault, "%s: \"%.100s\" is no absolute path", option, value);
	*ret_folder = value;
	return 0;
}

static int set_option(struct gm_opts *opts, int option, const char *value, char *ret_fault)
{
	switch (option) {
	case OPT_LISTEN:
		return add_listen(opts, value, ret_fault);
	case OPT_POLICY:
		return add_policy(opts, value, ret_fault);
	case OPT_ADMIN:
		opts->admin_path = value;
		return 0;
	case OPT_UNIT_ROOT:
		return set_folder("--unit-root", value, &opts->unit_root, ret_fault);
	case OPT_CGROUP_ROOT:
		return set_folder("--cgroup-root", value, &opts->cgroup_root, ret_fault);
	case OPT_CHECK_POLICY:
		opts->action = GM_OPTS_CHECK_POLICY;
		opts->check_path = value;
		return 0;
	case OPT_KEEP:
		opts->keep = true;
		return 0;
	case OPT_PROBE:
		opts->action = GM_OPTS_PROBE;
		return 0;
	case OPT_VERSION:
		opts->action = GM_OPTS_VERSION;
		return 0;
	case OPT_HELP:
		opts->action = GM_OPTS_HELP;
		return 0;
	default:
		return set_value(opts, option, value, ret_fault);
	}
}

int gm_opts_parse(int argc, char **argv, struct gm_opts *ret_opts,
		  char ret_fault[GM_OPTS_FAULT_MAX])
{
	int option;

	*ret_opts = (struct gm_opts){
		.action = GM_OPTS_SERVE,
		.socket_mode = GM_SOCKET_MODE_DEFAULT,
		.log_level = LOG_INFO,
		.sandbox = GM_SANDBOX_DEFAULT,
		.workers = GM_WORKERS_DEFAULT,
		.charge = GM_CHARGE_AUTO,
		.restart_max_ms = GM_RESTART_DEFAULT_MS,
	};
	optind = 0;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		int error;

		if (option == '?')
			return FAULT(ret_fault, "%.100s: no such option, see --help",
				     argv[optind - 1]);
		if (option == ':')
			return FAULT(ret_fault, "%.100s: its value is missing", argv[optind - 1]);
		error = set_option(ret_opts, option, optarg, ret_fault);
		if (error)
			return error;
	}
	if (optind < argc)
		return FAULT(ret_fault, "\"%.100s\" is not an option", argv[optind]);
	if (ret_opts->watchdog_ms > 0 && !ret_opts->keep)
		return FAULT(ret_fault, "--watchdog: there is nobody to watch without --keep");
	return 0;
}

static bool is_keepers(int option)
{
	return option == OPT_KEEP || option == OPT_WATCHDOG || option == OPT_RESTART_MAX;
}

void gm_opts_for_kept(int argc, char **argv, char **ret_argv)
{
	int option, next = 1;

	*ret_argv++ = argv[0];
	optind = 0;
	while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		/* An option and its value are one word or two. */
		for (; next < optind; next++)
			if (!is_keepers(option))
				*ret_argv++ = argv[next];
	}
	*ret_argv = NULL;
}
