/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tenants by memory, with what they have done since the last look. Only plain text goes out,
 * and on a terminal that can do it one sequence that clears the screen.
 */
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "gmemctl.h"

struct top {
	bool once;
	uint64_t seconds;
	bool clears; /* the screen, before each look */
	bool reads;  /* keys */
	struct termios before;
	sigset_t waiting; /* for signals, with it */
};

struct row {
	const char *name;
	uint64_t memory;
	uint64_t limit;
	uint64_t allocated;
	uint64_t jobs;
	double grants; /* a second */
	double done;
	double refusals;
};

static json_object *member(json_object *object, const char *key)
{
	json_object *value = NULL;

	(void)json_object_object_get_ex(object, key, &value);
	return value;
}

static uint64_t count_of(json_object *account, const char *kind)
{
	return json_object_get_uint64(member(member(account, "events"), kind));
}

static json_object *find_account(json_object *tree, const char *name, size_t from)
{
	json_object *accounts = member(tree, "accounts");

	for (size_t i = from; accounts && i < json_object_array_length(accounts); i++) {
		json_object *account = json_object_array_get_idx(accounts, i);

		if (strcmp(ctl_text(account, "account"), name) == 0)
			return account;
	}
	return NULL;
}

/* Since @before, or since the daemon's start where that is not known or was another daemon's. */
static double rate(json_object *now, json_object *before, const char *kind, double seconds)
{
	uint64_t n = count_of(now, kind);
	uint64_t m = before ? count_of(before, kind) : 0;

	return seconds > 0 && n >= m ? (double)(n - m) / seconds : 0;
}

static void fill_row(json_object *account, json_object *before, double seconds, struct row *row)
{
	json_object *resources = member(account, "resources");

	row->name = ctl_text(account, "account");
	row->memory = ctl_number(member(resources, "memory"), "used");
	row->limit = member(member(resources, "memory"), "limit")
			     ? ctl_number(member(resources, "memory"), "limit")
			     : UINT64_MAX;
	row->allocated = ctl_number(account, "allocated_bytes");
	row->jobs = ctl_number(member(resources, "jobs"), "used");
	row->grants = rate(account, before, "grant", seconds);
	row->done = rate(account, before, "job", seconds);
	row->refusals = rate(account, before, "refusal", seconds);
}

static int by_memory(const void *a, const void *b)
{
	const struct row *one = a;
	const struct row *two = b;

	if (one->memory != two->memory)
		return one->memory < two->memory ? 1 : -1;
	return strcmp(one->name, two->name);
}

static double seconds_between(json_object *tree, json_object *before)
{
	uint64_t now_ms = ctl_number(tree, "uptime_ms");
	uint64_t then_ms = before ? ctl_number(before, "uptime_ms") : 0;

	/* The daemon was started again in between. */
	if (then_ms > now_ms)
		then_ms = 0;
	return (double)(now_ms - then_ms) / 1000;
}

/* All rows but the host's, which stays on top. */
static size_t fill_rows(json_object *tree, json_object *before, struct row *rows)
{
	json_object *accounts = member(tree, "accounts");
	size_t n = json_object_array_length(accounts);
	size_t first = ctl_truth(tree, "first_is_host");
	double seconds = seconds_between(tree, before);

	for (size_t i = 0; i < n; i++) {
		json_object *account = json_object_array_get_idx(accounts, i);
		const char *name = ctl_text(account, "account");

		fill_row(account, find_account(before, name, i < first ? 0 : first), seconds,
			 &rows[i]);
	}
	if (n > first)
		qsort(rows + first, n - first, sizeof(*rows), by_memory);
	return n;
}

static size_t lines_of_screen(const struct top *top)
{
	struct winsize size;

	if (!top->clears || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 6)
		return SIZE_MAX;
	/* The line of the daemon, the headings, and the cursor's. */
	return size.ws_row - 3U;
}

static void print_rows(const struct top *top, const struct row *rows, size_t n)
{
	static const char *const headings[] = { "ACCOUNT", "MEMORY",   "LIMIT",	 "ALLOCATED",
						"JOBS",	   "GRANTS/S", "JOBS/S", "REFUSED/S" };
	struct table *table = table_new(headings, 8);
	size_t most = lines_of_screen(top);
	char text[CTL_SIZE_TEXT];

	for (size_t i = 0; i < n && i < most; i++) {
		table_cell(table, "%s", rows[i].name);
		table_cell(table, "%s", ctl_size_text(rows[i].memory, text));
		table_cell(table, "%s", ctl_size_text(rows[i].limit, text));
		table_cell(table, "%s", ctl_size_text(rows[i].allocated, text));
		table_cell(table, "%llu", (unsigned long long)rows[i].jobs);
		table_cell(table, "%.1f", rows[i].grants);
		table_cell(table, "%.1f", rows[i].done);
		table_cell(table, "%.1f", rows[i].refusals);
	}
	table_print(table, stdout);
	table_free(table);
}

static void print_json_rows(const struct row *rows, size_t n)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *tree = json_object_new_object();

		json_object_object_add(tree, "account", json_object_new_string(rows[i].name));
		json_object_object_add(tree, "memory", json_object_new_uint64(rows[i].memory));
		json_object_object_add(tree, "limit", ctl_json_limit(rows[i].limit));
		json_object_object_add(tree, "allocated_bytes",
				       json_object_new_uint64(rows[i].allocated));
		json_object_object_add(tree, "jobs", json_object_new_uint64(rows[i].jobs));
		json_object_object_add(tree, "grants_per_second",
				       json_object_new_double(rows[i].grants));
		json_object_object_add(tree, "jobs_per_second",
				       json_object_new_double(rows[i].done));
		json_object_object_add(tree, "refusals_per_second",
				       json_object_new_double(rows[i].refusals));
		json_object_array_add(list, tree);
	}
	(void)ctl_print_json_line(list);
	json_object_put(list);
}

static void print_look(const struct ctl *ctl, const struct top *top, json_object *tree,
		       json_object *before)
{
	size_t n = json_object_array_length(member(tree, "accounts"));
	struct row *rows = calloc(n + 1, sizeof(*rows));
	char text[CTL_SIZE_TEXT];

	if (!rows)
		abort();
	n = fill_rows(tree, before, rows);
	if (ctl->json) {
		print_json_rows(rows, n);
	} else {
		if (top->clears)
			fputs("\033[H\033[J", stdout);
		printf("gmemd: up %s; %s\n", ctl_time_text(ctl_number(tree, "uptime_ms"), text),
		       top->reads ? "q ends" : "rates are per second");
		print_rows(top, rows, n);
	}
	free(rows);
	(void)fflush(stdout);
}

/* Keys come one by one, and are not shown. */
static void open_keys(struct top *top)
{
	struct termios raw;

	if (top->once || !isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &top->before) < 0)
		return;
	raw = top->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	top->reads = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void close_keys(const struct top *top)
{
	if (top->reads)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
}

/* Until the next look is due. True: no more of them. */
static bool wait_for_key(const struct top *top)
{
	const struct timespec interval = { .tv_sec = (time_t)top->seconds };
	struct pollfd key = { .fd = top->reads ? STDIN_FILENO : -1, .events = POLLIN };
	char c;

	switch (ppoll(&key, 1, &interval, &top->waiting)) {
	case 0:
		return false;
	case 1:
		return read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 'Q';
	default:
		return true;
	}
}

static int look_on(struct ctl *ctl, const struct top *top)
{
	json_object *before = NULL;
	json_object *tree;

	while ((tree = metrics_tree(ctl, NULL)) != NULL) {
		print_look(ctl, top, tree, before);
		json_object_put(before);
		before = tree;
		if (top->once || ferror(stdout) || wait_for_key(top))
			break;
	}
	json_object_put(before);
	return tree ? CTL_OK : ctl_fail(ctl, "top");
}

static int show_help(void)
{
	puts("gmemctl top [--once] [--interval SECONDS]\n\n"
	     "The tenants by memory, with what they do: grants, jobs and refusals a second, since\n"
	     "the last look (at first: since the daemon's start). q ends it. With --json one line\n"
	     "of JSON a look.\n\n"
	     "  --once               one look\n"
	     "  --interval SECONDS   time between two looks, 1 to 3600 (default 2)");
	return CTL_OK;
}

int cmd_top(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "once", no_argument, NULL, 'o' },
					       { "interval", required_argument, NULL, 'i' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	const char *terminal = getenv("TERM");
	struct top top = { .seconds = 2 };
	int option, r;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'o')
			top.once = true;
		else if (option != 'i')
			return option == 'h' ? show_help() : CTL_USAGE;
		else if (parse_count(optarg, 1, 3600, &top.seconds) < 0)
			return ctl_complain(ctl, CTL_USAGE, "--interval: \"%s\" is not 1 to 3600",
					    optarg);
	}
	if (optind != argc)
		return ctl_complain(ctl, CTL_USAGE, "top takes no argument");
	top.clears = !top.once && !ctl->json && isatty(STDOUT_FILENO) && terminal &&
		     strcmp(terminal, "dumb") != 0;
	ctl_catch_signals(&top.waiting);
	open_keys(&top);
	r = look_on(ctl, &top);
	close_keys(&top);
	return r;
}
