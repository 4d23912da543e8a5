/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <string.h>

#include "gmemctl.h"

static int add_account(void *arg, const struct gmem_account_info *info)
{
	json_object *tree = json_object_new_object();
	json_object *resources = json_object_new_object();

	for (uint32_t i = 0; i < info->n_usage; i++) {
		json_object *usage = json_object_new_object();

		json_object_object_add(usage, "used", json_object_new_uint64(info->usage[i].used));
		json_object_object_add(usage, "limit", ctl_json_limit(info->usage[i].limit));
		json_object_object_add(resources, info->usage[i].resource, usage);
	}
	json_object_object_add(tree, "account", json_object_new_string(info->name));
	json_object_object_add(tree, "resources", resources);
	ctl_json_halves(tree, info->allocated_bytes, info->shared_bytes, info->private_bytes);
	if (info->observed_bytes > 0)
		json_object_object_add(tree, "observed_bytes",
				       json_object_new_uint64(info->observed_bytes));
	json_object_object_add(tree, "requests", json_object_new_uint64(info->requests));
	json_object_object_add(tree, "refusals", json_object_new_uint64(info->refusals));
	json_object_object_add(tree, "violations", json_object_new_uint64(info->violations));
	return json_object_array_add(arg, tree);
}

/* Bytes or a count, by the name of the resource. */
static const char *amount_text(const char *resource, uint64_t amount, char *buffer)
{
	if (strcmp(resource, "memory") == 0 || strcmp(resource, "memlock") == 0 ||
	    strncmp(resource, "hugepages-", 10) == 0 || amount == UINT64_MAX)
		return ctl_size_text(amount, buffer);
	(void)snprintf(buffer, CTL_SIZE_TEXT, "%llu", (unsigned long long)amount);
	return buffer;
}

static void print_account(json_object *account)
{
	static const char *const headings[] = { "  RESOURCE", "USED", "LIMIT" };
	struct table *table = table_new(headings, 3);
	char a[CTL_SIZE_TEXT], b[CTL_SIZE_TEXT], c[CTL_SIZE_TEXT];
	json_object *resources = NULL;

	(void)json_object_object_get_ex(account, "resources", &resources);
	printf("%s: %s allocated by the daemon (%s shared, %s private)",
	       ctl_text(account, "account"),
	       ctl_size_text(ctl_number(account, "allocated_bytes"), a),
	       ctl_size_text(ctl_number(account, "shared_bytes"), b),
	       ctl_size_text(ctl_number(account, "private_bytes"), c));
	if (json_object_object_get_ex(account, "observed_bytes", NULL))
		printf(", %s in the cgroups of its VMMs",
		       ctl_size_text(ctl_number(account, "observed_bytes"), a));
	printf("; %s requests, %s refused, %s violations\n", ctl_text(account, "requests"),
	       ctl_text(account, "refusals"), ctl_text(account, "violations"));
	json_object_object_foreach(resources, resource, usage)
	{
		table_cell(table, "  %s", resource);
		table_cell(table, "%s", amount_text(resource, ctl_number(usage, "used"), a));
		table_cell(table, "%s", amount_text(resource, ctl_number(usage, "limit"), b));
	}
	table_print(table, stdout);
	table_free(table);
}

static void print_stats(json_object *tree)
{
	json_object *accounts = NULL;
	char a[CTL_SIZE_TEXT], b[CTL_SIZE_TEXT];

	printf("gmemd: up %s", ctl_time_text(ctl_number(tree, "uptime_ms"), a));
	if (json_object_object_get_ex(tree, "rss_bytes", NULL))
		printf(", resident %s, workers: %s",
		       ctl_size_text(ctl_number(tree, "rss_bytes"), b), ctl_text(tree, "workers"));
	puts("");
	(void)json_object_object_get_ex(tree, "accounts", &accounts);
	for (size_t i = 0; i < json_object_array_length(accounts); i++)
		print_account(json_object_array_get_idx(accounts, i));
}

static int show_help(void)
{
	puts("gmemctl stats\n\n"
	     "Use and limits of the tenant; on the admin socket of the host and every tenant.");
	return CTL_OK;
}

int cmd_stats(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	struct gmem_daemon_info daemon;
	json_object *tree, *accounts;
	int option, r = CTL_OK;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? show_help() : CTL_USAGE;
	if (optind != argc)
		return ctl_complain(ctl, CTL_USAGE, "stats takes no argument");
	tree = json_object_new_object();
	accounts = json_object_new_array();
	if (gmem_get_daemon(ctl->client, &daemon) < 0 ||
	    gmem_list_accounts(ctl->client, add_account, accounts) < 0) {
		json_object_put(accounts);
		json_object_put(tree);
		return ctl_fail(ctl, "stats");
	}
	json_object_object_add(tree, "uptime_ms", json_object_new_uint64(daemon.uptime_ms));
	if (gmem_client_is_admin(ctl->client)) {
		json_object_object_add(tree, "rss_bytes", json_object_new_uint64(daemon.rss_bytes));
		json_object_object_add(tree, "workers", json_object_new_int64(daemon.workers));
	}
	json_object_object_add(tree, "accounts", accounts);
	if (ctl->json)
		r = ctl_print_json(tree);
	else
		print_stats(tree);
	json_object_put(tree);
	return r;
}
