/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmemctl.h"

static const struct ctl_command commands[] = {
	{ "doctor", "", "what this host can do, and why not where it can't", false, 0, cmd_doctor },
	{ "list", "[domains|regions|sessions|tenants]", "the objects the socket may see", true, 0,
	  cmd_list },
	{ "show", "ID", "everything about a domain or a region", true, 0, cmd_show },
	{ "stats", "", "use and limits of every account", true, 0, cmd_stats },
	{ "policy", "show|check [TENANT]", "what holds and where it is written", true, 0,
	  cmd_policy },
	{ "metrics", "[--tenant NAME]", "counts and latencies as OpenMetrics text", true, 0,
	  cmd_metrics },
	{ "top", "[--once] [--interval SECONDS]", "what every tenant has and does, live", true, 0,
	  cmd_top },
	{ "watch", "[--count N]", "what the daemon does, as JSON lines", true, 0, cmd_watch },
	{ "map", "REGION", "draw a region's page map", true, 0, cmd_map },
	{ "create", "--size SIZE [OPTION...]", "make a persistent domain with one region", true, 0,
	  cmd_create },
	{ "hold", "--size SIZE [OPTION...]", "make a domain and hold it until interrupted", true, 0,
	  cmd_hold },
	{ "run", "--keep-domain|--attach NAME ...", "run a VMM on memory that outlives it", true,
	  INT_MAX, cmd_run },
	{ "destroy", "ID --token-file FILE", "end a domain of the socket's tenant", true, 0,
	  cmd_destroy },
	{ "measure", "KIND --ovmf FILE|--pages FILE ...", "the digest of a confidential launch",
	  false, 0, cmd_measure },
	{ "evict", "ID", "end anybody's domain (admin socket)", true, 0, cmd_evict },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *stream)
{
	fputs("gmemctl: look at and operate gmemd, the guest-memory service\n\n"
	      "  gmemctl [--address SOCKET] [--json] [--no-color] COMMAND [ARGUMENT...]\n\n",
	      stream);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(stream, "  %-8s %-36s %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	fputs("\n  --address SOCKET   a tenant's or the admin socket, or builtin:\n"
	      "                     (default: $GMEM_ADDRESS, else the library's)\n"
	      "  --json             JSON on standard output instead of text\n"
	      "  --no-color         no colours, also when standard output is a terminal\n"
	      "  --version, --help\n\n"
	      "Exit status: 0 done, 1 refused or failed, 2 usage, 3 no daemon there, 4 a bad "
	      "policy.\n"
	      "`gmemctl COMMAND --help` tells a command's options; see also gmemctl(1).\n",
	      stream);
}

static const struct ctl_command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int connect_daemon(struct ctl *ctl, const struct ctl_command *command)
{
	char why[512] = "";
	struct gmem_connect_spec spec = { .name = "gmemctl",
					  .reconnect_ms = command->patience_ms,
					  .ret_error = why,
					  .ret_error_size = sizeof(why) };
	int r = gmem_connect(ctl->address, &spec, &ctl->client);

	if (r == 0)
		return CTL_OK;
	return ctl_complain(ctl, r == -GMEM_DISCONNECTED ? CTL_NO_DAEMON : CTL_FAILED, "%s", why);
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_command *command = find_command(argv[0]);
	int r;

	if (!command)
		return ctl_complain(ctl, CTL_USAGE, "no command \"%s\": see gmemctl --help",
				    argv[0]);
	if (command->needs_daemon && !wants_help(argc, argv)) {
		r = connect_daemon(ctl, command);
		if (r != CTL_OK)
			return r;
	}
	optind = 0;
	r = command->run(ctl, argc, argv);
	gmem_disconnect(ctl->client);
	return r;
}

/* Otherwise the next socket or guest's memory would be one of them, and be printed to. */
static bool open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}

int main(int argc, char **argv)
{
	enum {
		ADDRESS = 256,
		JSON,
		NO_COLOR,
		VERSION
	};
	static const struct option longs[] = {
		{ "address", required_argument, NULL, ADDRESS },
		{ "json", no_argument, NULL, JSON },
		{ "no-color", no_argument, NULL, NO_COLOR },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct ctl ctl = { .color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
	int option, r;

	if (!open_standard_fds())
		return CTL_FAILED;
	while ((option = getopt_long(argc, argv, "+h", longs, NULL)) != -1) {
		switch (option) {
		case ADDRESS:
			ctl.address = optarg;
			break;
		case JSON:
			ctl.json = true;
			break;
		case NO_COLOR:
			ctl.color = false;
			break;
		case VERSION:
			puts("gmemctl " GMEMD_VERSION);
			return CTL_OK;
		case 'h':
			usage(stdout);
			return CTL_OK;
		default:
			return CTL_USAGE;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return CTL_USAGE;
	}
	r = run(&ctl, argc - optind, argv + optind);
	if (fflush(stdout) != 0 && r == CTL_OK)
		r = ctl_complain(&ctl, CTL_FAILED, "standard output could not be written");
	return r;
}
