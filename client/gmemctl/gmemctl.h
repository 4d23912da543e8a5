/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmemctl: the operator's view of gmemd, on the public library alone.
 *
 * Every command builds one JSON tree, which --json prints as it is and the text writers print for
 * people: what a script sees and what a person sees cannot differ.
 */
#ifndef GMEMCTL_H
#define GMEMCTL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <gmem.h>
#include <json-c/json.h>

/* Exit statuses, as in the manual. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1, /* the daemon refused, or something failed */
	CTL_USAGE = 2,
	CTL_NO_DAEMON = 3,
	CTL_BAD_POLICY = 4, /* policy check has found a fault */
};

struct ctl {
	const char *address; /* NULL: the library's default */
	bool json;
	bool color;
	gmem_client *client; /* NULL for commands that need no daemon */
};

struct ctl_command {
	const char *name;
	const char *arguments; /* for the usage line */
	const char *summary;
	bool needs_daemon;
	int patience_ms; /* with a daemon that has gone; 0: the library's */
	int (*run)(struct ctl *ctl, int argc, char **argv); /* argv[0] is the command's name */
};

int cmd_create(struct ctl *ctl, int argc, char **argv);
int cmd_destroy(struct ctl *ctl, int argc, char **argv);
int cmd_doctor(struct ctl *ctl, int argc, char **argv);
int cmd_evict(struct ctl *ctl, int argc, char **argv);
int cmd_hold(struct ctl *ctl, int argc, char **argv);
int cmd_list(struct ctl *ctl, int argc, char **argv);
int cmd_metrics(struct ctl *ctl, int argc, char **argv);
int cmd_top(struct ctl *ctl, int argc, char **argv);
int cmd_watch(struct ctl *ctl, int argc, char **argv);
int cmd_map(struct ctl *ctl, int argc, char **argv);
int cmd_measure(struct ctl *ctl, int argc, char **argv);
int cmd_policy(struct ctl *ctl, int argc, char **argv);
int cmd_run(struct ctl *ctl, int argc, char **argv);
int cmd_show(struct ctl *ctl, int argc, char **argv);
int cmd_stats(struct ctl *ctl, int argc, char **argv);

/* ---- cmd_policy.c ---- */

int ctl_policy_row(void *rows, const struct gmem_policy_row *row); /* adds to a JSON array */
void ctl_print_policy(json_object *rows);

/* ---- output.c ---- */

/* Reports the client's last error on stderr, as text or as JSON; returns CTL_FAILED. */
int ctl_fail(const struct ctl *ctl, const char *what);

/* A complaint that is not the daemon's. Returns @status. */
int ctl_complain(const struct ctl *ctl, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints @tree in JSON; always returns CTL_OK. */
int ctl_print_json(json_object *tree);

json_object *ctl_json_id(uint64_t id);	     /* "0123456789abcdef" */
json_object *ctl_json_limit(uint64_t limit); /* null for none */
json_object *ctl_json_bits(uint64_t bits);   /* [0, 3] */
/* Bytes allocated, and how they are divided. */
void ctl_json_halves(json_object *tree, uint64_t allocated, uint64_t shared, uint64_t private);
json_object *ctl_json_domain(const struct gmem_domain_info *info);
json_object *ctl_json_region(const struct gmem_region_info *info);

const char *ctl_text(json_object *object, const char *key); /* "" when it is not there */
uint64_t ctl_number(json_object *object, const char *key);
bool ctl_truth(json_object *object, const char *key);

/* "256M", "1.5G", "12345"; exact or rounded to a tenth. @buffer of CTL_SIZE_TEXT. */
#define CTL_SIZE_TEXT 24
const char *ctl_size_text(uint64_t bytes, char *buffer);

/* "3s", "5min", "2h", "4d". @buffer of CTL_SIZE_TEXT. */
const char *ctl_time_text(uint64_t ms, char *buffer);

/* The same in one line, at once: for output that goes on. -EPIPE when nobody reads it any more. */
int ctl_print_json_line(json_object *tree);

/* ---- metrics.c, openmetrics.c */

/* What the daemon counts: NULL when it cannot be had, with gmem_error. */
json_object *metrics_tree(struct ctl *ctl, const char *tenant);
/* Amounts of the resource are bytes, not pieces. */
bool metrics_in_bytes(const char *resource);
/* OpenMetrics 1.0 text of such a tree. */
void openmetrics_print(json_object *tree, FILE *stream);

/* ---- signals.c: for what goes on until it is interrupted, and then ends as it should */

/* SIGINT, SIGTERM and SIGHUP come only to who waits with *ret_waiting, in ppoll. */
void ctl_catch_signals(sigset_t *ret_waiting);
bool ctl_is_stopped(void);

/* ---- table.c: left-aligned columns, as wide as they need to be ---- */

#define TABLE_COLUMNS_MAX 12

struct table;
struct table *table_new(const char *const *headings,
			size_t n_columns); /* aborts when out of memory */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *table, FILE *stream);
void table_free(struct table *table);

/* ---- parse.c: 0, or -EINVAL ---- */

int parse_size(const char *text, uint64_t *ret_bytes); /* K M G T, base 1024 */
int parse_id(const char *text, uint64_t *ret_id);      /* 1 to 16 hex digits */
/* Decimal, from @least to @most. */
int parse_count(const char *text, uint64_t least, uint64_t most, uint64_t *ret_count);
int parse_nodes(const char *text, uint64_t *ret_bits); /* "0-1,3" */

/* ---- token.c ---- */

/* One line "ID TOKEN" in hex, in a file of mode 0600. 0 or -errno. */
int token_save(const char *path, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE]);
int token_load(const char *path, uint64_t *ret_id, uint8_t ret_token[GMEM_TOKEN_SIZE]);

/* ---- progress.c: a bar on stderr while it is a terminal, nothing otherwise ---- */

struct progress {
	const char *what;
	bool shown;
};
int progress_update(void *progress, uint64_t done, uint64_t total); /* a gmem_progress_fn */
void progress_end(struct progress *progress);

#endif
