/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "gmemctl.h"

struct watch {
	uint64_t left; /* lines to print */
	bool broken;   /* nobody reads them any more */
};

static void add_text(json_object *tree, const char *key, const char *text)
{
	if (text[0] != '\0')
		json_object_object_add(tree, key, json_object_new_string(text));
}

static void add_id(json_object *tree, const char *key, uint64_t id)
{
	if (id != 0)
		json_object_object_add(tree, key, ctl_json_id(id));
}

static json_object *news_tree(const struct gmem_news *news)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "kind", json_object_new_string(gmem_news_name(news->kind)));
	json_object_object_add(tree, "ms", json_object_new_uint64(news->ms));
	add_text(tree, "tenant", news->tenant);
	add_id(tree, "domain", news->domain);
	add_id(tree, "region", news->region);
	add_text(tree, "verb", news->verb);
	if (news->status != GMEM_OK)
		add_text(tree, "status", gmem_status_name(news->status));
	add_text(tree, "rule", news->rule);
	if (news->bytes != 0)
		json_object_object_add(tree, "bytes", json_object_new_uint64(news->bytes));
	if (news->has_peer) {
		json_object_object_add(tree, "pid", json_object_new_int64(news->pid));
		json_object_object_add(tree, "uid", json_object_new_int64(news->uid));
	}
	add_text(tree, "client", news->client);
	add_text(tree, "text", news->text);
	json_object_object_add(tree, "lost", json_object_new_uint64(news->lost));
	return tree;
}

static void on_news(void *arg, const struct gmem_news *news)
{
	struct watch *watch = arg;
	json_object *tree;

	if (watch->left == 0 || watch->broken)
		return;
	tree = news_tree(news);
	watch->broken = ctl_print_json_line(tree) < 0;
	json_object_put(tree);
	watch->left--;
}

static int wait_and_print(struct ctl *ctl, struct watch *watch, const sigset_t *waiting)
{
	struct pollfd fds[] = {
		{ .fd = gmem_client_fd(ctl->client), .events = POLLIN },
		{ .fd = STDOUT_FILENO, .events = 0 }, /* says when its reader has gone */
	};

	while (watch->left > 0 && !watch->broken && !ctl_is_stopped()) {
		int r;

		if (ppoll(fds, 2, NULL, waiting) < 0 && errno != EINTR)
			return ctl_complain(ctl, CTL_FAILED, "cannot wait for news");
		if (ctl_is_stopped() || fds[1].revents & (POLLERR | POLLHUP))
			break;
		r = gmem_dispatch(ctl->client);
		if (r < 0 && r != -GMEM_AGAIN)
			return ctl_fail(ctl, "watch");
	}
	return CTL_OK;
}

static int show_help(void)
{
	puts("gmemctl watch [--count N]\n\n"
	     "What the daemon does, from now on, one JSON object a line: for the tenant; on the\n"
	     "admin socket for all. Ends when it is interrupted or when nobody reads it.\n\n"
	     "  --count N   end after N lines");
	return CTL_OK;
}

int cmd_watch(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "count", required_argument, NULL, 'n' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	struct watch watch = { .left = UINT64_MAX };
	sigset_t waiting;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option != 'n')
			return option == 'h' ? show_help() : CTL_USAGE;
		if (parse_count(optarg, 1, UINT64_MAX - 1, &watch.left) < 0)
			return ctl_complain(ctl, CTL_USAGE, "--count: \"%s\" is no number", optarg);
	}
	if (optind != argc)
		return ctl_complain(ctl, CTL_USAGE, "watch takes no argument");
	ctl_catch_signals(&waiting);
	(void)signal(SIGPIPE, SIG_IGN);
	if (gmem_watch(ctl->client, on_news, &watch) < 0)
		return ctl_fail(ctl, "watch");
	return wait_and_print(ctl, &watch, &waiting);
}
