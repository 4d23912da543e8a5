/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create: a persistent domain with one region, which stays when gmemctl ends.
 * hold: the same, bound to gmemctl, which stays until it is interrupted.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "gmemctl.h"

struct create_options {
	struct gmem_domain_spec domain;
	struct gmem_region_spec region;
	const char *token_file;
	bool allocate;
};

static int show_help(bool hold)
{
	printf("gmemctl %s --size SIZE [OPTION...]\n\n"
	       "  --size SIZE         bytes, with suffix K M G T\n"
	       "  --kind KIND         memfd (default), guest-memfd\n"
	       "  --name NAME         of the domain; default none\n"
	       "  --page-size SIZE    4K (default), 2M, 1G\n"
	       "  --gpa SIZE          guest-physical address; default 0\n"
	       "  --numa-nodes LIST   such as 0-1,3; default any\n"
	       "  --slot POOL         hold a hardware slot, see doctor\n"
	       "  --allocate          allocate every page now\n",
	       hold ? "hold" : "create");
	puts(hold ? "\nThe domain ends with gmemctl: at SIGINT, SIGTERM, or when the daemon goes."
		  : "  --token-file FILE   where to keep the domain's id and token (required)");
	return CTL_OK;
}

static int parse(struct ctl *ctl, struct create_options *options, bool hold, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "size", required_argument, NULL, 's' },
		{ "kind", required_argument, NULL, 'k' },
		{ "name", required_argument, NULL, 'n' },
		{ "page-size", required_argument, NULL, 'p' },
		{ "gpa", required_argument, NULL, 'g' },
		{ "numa-nodes", required_argument, NULL, 'N' },
		{ "slot", required_argument, NULL, 'S' },
		{ "token-file", required_argument, NULL, 't' },
		{ "allocate", no_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 's':
			r = parse_size(optarg, &options->region.size);
			break;
		case 'k':
			options->domain.kind = optarg;
			break;
		case 'n':
			options->domain.name = optarg;
			break;
		case 'p':
			r = parse_size(optarg, &options->region.page_size);
			break;
		case 'g':
			r = parse_size(optarg, &options->region.gpa);
			break;
		case 'N':
			r = parse_nodes(optarg, &options->region.numa_nodes);
			break;
		case 'S':
			options->domain.slot = optarg;
			break;
		case 't':
			options->token_file = optarg;
			break;
		case 'a':
			options->allocate = true;
			break;
		default:
			return CTL_USAGE;
		}
		if (r < 0)
			return ctl_complain(ctl, CTL_USAGE, "cannot read \"%s\"", optarg);
	}
	if (optind != argc)
		return ctl_complain(ctl, CTL_USAGE, "what is \"%s\"?", argv[optind]);
	if (options->region.size == 0)
		return ctl_complain(ctl, CTL_USAGE, "%s needs --size", argv[0]);
	if (!hold && !options->token_file)
		return ctl_complain(ctl, CTL_USAGE,
				    "create needs --token-file: without its token nobody could "
				    "have the domain back");
	return CTL_OK;
}

static int allocate(struct ctl *ctl, gmem_region *region)
{
	struct progress progress = { .what = "allocating" };
	int r = gmem_region_allocate(region, NULL, 0, progress_update, &progress);

	progress_end(&progress);
	return r < 0 ? ctl_fail(ctl, "allocate") : CTL_OK;
}

static int save_token(struct ctl *ctl, const struct create_options *options, gmem_domain *domain)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	int r;

	if (!options->token_file)
		return CTL_OK;
	gmem_domain_token(domain, token);
	r = token_save(options->token_file, gmem_domain_id(domain), token);
	explicit_bzero(token, sizeof(token));
	if (r < 0)
		return ctl_complain(ctl, CTL_FAILED, "%s: %s", options->token_file, strerror(-r));
	return CTL_OK;
}

/*
 * The token is saved before the work that takes long: who is interrupted there can still end the
 * domain. On any failure the domain is ended again: a persistent one would be left behind.
 */
static int make(struct ctl *ctl, const struct create_options *options, gmem_domain **ret_domain)
{
	gmem_domain *domain;
	gmem_region *region;
	bool saved;
	int r;

	if (gmem_domain_create(ctl->client, &options->domain, &domain) < 0)
		return ctl_fail(ctl, "create domain");
	r = save_token(ctl, options, domain);
	saved = r == CTL_OK && options->token_file;
	if (r == CTL_OK && gmem_region_create(domain, &options->region, &region) < 0)
		r = ctl_fail(ctl, "create region");
	if (r == CTL_OK && options->allocate)
		r = allocate(ctl, region);
	if (r != CTL_OK) {
		(void)gmem_domain_destroy(domain);
		if (saved)
			(void)unlink(options->token_file);
		return r;
	}
	*ret_domain = domain;
	return CTL_OK;
}

static void report(const struct ctl *ctl, const gmem_domain *domain)
{
	const gmem_region *region = gmem_domain_region(domain, 0);
	json_object *tree = json_object_new_object();
	char size[CTL_SIZE_TEXT];

	json_object_object_add(tree, "domain", ctl_json_id(gmem_domain_id(domain)));
	json_object_object_add(tree, "region", ctl_json_id(gmem_region_id(region)));
	json_object_object_add(tree, "size", json_object_new_uint64(gmem_region_size(region)));
	if (ctl->json)
		(void)ctl_print_json(tree);
	else
		printf("domain %s, region %s, %s\n", ctl_text(tree, "domain"),
		       ctl_text(tree, "region"), ctl_size_text(gmem_region_size(region), size));
	(void)fflush(stdout);
	json_object_put(tree);
}

int cmd_create(struct ctl *ctl, int argc, char **argv)
{
	struct create_options options = { .domain.flags = GMEM_DOMAIN_PERSISTENT };
	gmem_domain *domain = NULL;
	int r;

	if (!ctl->client)
		return show_help(false);
	r = parse(ctl, &options, false, argc, argv);
	if (r == CTL_OK)
		r = make(ctl, &options, &domain);
	if (r == CTL_OK)
		report(ctl, domain);
	return r;
}

static void note_event(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	bool *over = arg;

	(void)domain;
	if (type == GMEM_EVENT_SHUTDOWN)
		fprintf(stderr, "gmemctl: gmemd stops in %llu ms\n", (unsigned long long)value);
	else if (type != GMEM_EVENT_RECONNECTED)
		*over = true;
}

/* Until a signal or until the domain is gone. */
static int wait_for_end(struct ctl *ctl, int signals)
{
	struct pollfd fds[] = { { .fd = signals, .events = POLLIN },
				{ .fd = gmem_client_fd(ctl->client), .events = POLLIN } };
	bool over = false;
	int r;

	gmem_client_on_event(ctl->client, note_event, &over);
	while (!over) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return ctl_complain(ctl, CTL_FAILED, "poll: %s", strerror(errno));
		if (fds[0].revents)
			return CTL_OK;
		r = gmem_dispatch(ctl->client);
		if (r < 0 && r != -GMEM_AGAIN)
			return ctl_fail(ctl, "hold");
	}
	return ctl_complain(ctl, CTL_FAILED,
			    "the domain is gone: evicted, or the daemon has ended");
}

int cmd_hold(struct ctl *ctl, int argc, char **argv)
{
	struct create_options options = { 0 };
	gmem_domain *domain = NULL;
	sigset_t set;
	int signals, r;

	if (!ctl->client)
		return show_help(true);
	r = parse(ctl, &options, true, argc, argv);
	if (r != CTL_OK)
		return r;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return ctl_complain(ctl, CTL_FAILED, "sigprocmask: %s", strerror(errno));
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return ctl_complain(ctl, CTL_FAILED, "signalfd: %s", strerror(errno));
	r = make(ctl, &options, &domain);
	if (r == CTL_OK) {
		report(ctl, domain);
		r = wait_for_end(ctl, signals);
	}
	(void)close(signals);
	return r;
}
