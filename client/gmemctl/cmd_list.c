/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <string.h>

#include "gmemctl.h"

static int add_domain(void *arg, const struct gmem_domain_info *info)
{
	return json_object_array_add(arg, ctl_json_domain(info));
}

static int add_region(void *arg, const struct gmem_region_info *info)
{
	return json_object_array_add(arg, ctl_json_region(info));
}

static int add_session(void *arg, const struct gmem_session_info *info)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "session", ctl_json_id(info->id));
	if (info->tenant[0] != '\0')
		json_object_object_add(tree, "tenant", json_object_new_string(info->tenant));
	json_object_object_add(tree, "client", json_object_new_string(info->client));
	json_object_object_add(tree, "pid", json_object_new_int64(info->pid));
	json_object_object_add(tree, "uid", json_object_new_int64(info->uid));
	json_object_object_add(tree, "domains", json_object_new_int64(info->domains));
	json_object_object_add(tree, "jobs", json_object_new_int64(info->jobs));
	return json_object_array_add(arg, tree);
}

static int add_tenant(void *arg, const struct gmem_account_info *info)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "tenant", json_object_new_string(info->name));
	for (uint32_t i = 0; i < info->n_usage; i++)
		json_object_object_add(tree, info->usage[i].resource,
				       json_object_new_uint64(info->usage[i].used));
	return json_object_array_add(arg, tree);
}

static void domain_state(json_object *row, char *buffer, size_t size)
{
	char left[CTL_SIZE_TEXT];

	if (ctl_truth(row, "attached"))
		(void)snprintf(buffer, size, "pid %s", ctl_text(row, "pid"));
	else
		(void)snprintf(buffer, size, "orphaned, %s left",
			       ctl_time_text(ctl_number(row, "orphan_ttl_ms"), left));
}

static void print_domains(json_object *rows, bool tenants)
{
	static const char *const headings[] = { "DOMAIN",    "TENANT", "NAME",	  "KIND",
						"LIFE",	     "STATE",  "REGIONS", "RESERVED",
						"ALLOCATED", "AGE" };
	struct table *table = table_new(headings, sizeof(headings) / sizeof(headings[0]));
	char a[CTL_SIZE_TEXT], b[CTL_SIZE_TEXT], c[CTL_SIZE_TEXT], state[64];

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		domain_state(row, state, sizeof(state));
		table_cell(table, "%s", ctl_text(row, "domain"));
		table_cell(table, "%s", tenants ? ctl_text(row, "tenant") : "-");
		table_cell(table, "%s", ctl_text(row, "name")[0] ? ctl_text(row, "name") : "-");
		table_cell(table, "%s", ctl_text(row, "kind"));
		table_cell(table, "%s", ctl_truth(row, "persistent") ? "persistent" : "bound");
		table_cell(table, "%s", state);
		table_cell(table, "%s", ctl_text(row, "regions"));
		table_cell(table, "%s", ctl_size_text(ctl_number(row, "reserved_bytes"), a));
		table_cell(table, "%s", ctl_size_text(ctl_number(row, "allocated_bytes"), b));
		table_cell(table, "%s", ctl_time_text(ctl_number(row, "age_ms"), c));
	}
	table_print(table, stdout);
	table_free(table);
}

static void print_regions(json_object *rows, bool tenants)
{
	static const char *const headings[] = { "REGION", "DOMAIN", "TENANT",	 "NAME", "GPA",
						"SIZE",	  "PAGES",  "ALLOCATED", "JOBS" };
	struct table *table = table_new(headings, sizeof(headings) / sizeof(headings[0]));
	char a[CTL_SIZE_TEXT], b[CTL_SIZE_TEXT], c[CTL_SIZE_TEXT];

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		table_cell(table, "%s", ctl_text(row, "region"));
		table_cell(table, "%s", ctl_text(row, "domain"));
		table_cell(table, "%s", tenants ? ctl_text(row, "tenant") : "-");
		table_cell(table, "%s", ctl_text(row, "name")[0] ? ctl_text(row, "name") : "-");
		table_cell(table, "%#llx", (unsigned long long)ctl_number(row, "gpa"));
		table_cell(table, "%s", ctl_size_text(ctl_number(row, "size"), a));
		table_cell(table, "%s", ctl_size_text(ctl_number(row, "page_size"), b));
		table_cell(table, "%s", ctl_size_text(ctl_number(row, "allocated_bytes"), c));
		table_cell(table, "%s", ctl_text(row, "jobs"));
	}
	table_print(table, stdout);
	table_free(table);
}

static void print_sessions(json_object *rows, bool tenants)
{
	static const char *const headings[] = { "SESSION", "TENANT",  "CLIENT", "PID",
						"UID",	   "DOMAINS", "JOBS" };
	struct table *table = table_new(headings, sizeof(headings) / sizeof(headings[0]));

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		table_cell(table, "%s", ctl_text(row, "session"));
		table_cell(table, "%s", tenants ? ctl_text(row, "tenant") : "-");
		table_cell(table, "%s", ctl_text(row, "client"));
		table_cell(table, "%s", ctl_text(row, "pid"));
		table_cell(table, "%s", ctl_text(row, "uid"));
		table_cell(table, "%s", ctl_text(row, "domains"));
		table_cell(table, "%s", ctl_text(row, "jobs"));
	}
	table_print(table, stdout);
	table_free(table);
}

static void print_tenants(json_object *rows, bool tenants)
{
	static const char *const headings[] = { "TENANT", "SESSIONS", "DOMAINS", "REGIONS",
						"RESERVED" };
	struct table *table = table_new(headings, sizeof(headings) / sizeof(headings[0]));
	char a[CTL_SIZE_TEXT];

	(void)tenants;
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		table_cell(table, "%s", ctl_text(row, "tenant"));
		table_cell(table, "%s", ctl_text(row, "sessions"));
		table_cell(table, "%s", ctl_text(row, "domains"));
		table_cell(table, "%s", ctl_text(row, "regions"));
		table_cell(table, "%s", ctl_size_text(ctl_number(row, "memory"), a));
	}
	table_print(table, stdout);
	table_free(table);
}

static int walk_domains(gmem_client *client, json_object *rows)
{
	return gmem_list_domains(client, add_domain, rows);
}

static int walk_regions(gmem_client *client, json_object *rows)
{
	return gmem_list_regions(client, 0, add_region, rows);
}

static int walk_sessions(gmem_client *client, json_object *rows)
{
	return gmem_list_sessions(client, add_session, rows);
}

static int walk_tenants(gmem_client *client, json_object *rows)
{
	return gmem_list_accounts(client, add_tenant, rows);
}

static const struct listing {
	const char *name;
	int (*walk)(gmem_client *client, json_object *rows);
	void (*print)(json_object *rows, bool tenants);
} listings[] = {
	{ "domains", walk_domains, print_domains },
	{ "regions", walk_regions, print_regions },
	{ "sessions", walk_sessions, print_sessions },
	{ "tenants", walk_tenants, print_tenants },
};

static const struct listing *find_listing(const char *name)
{
	for (size_t i = 0; i < sizeof(listings) / sizeof(listings[0]); i++)
		if (strcmp(listings[i].name, name) == 0)
			return &listings[i];
	return NULL;
}

static int show_help(void)
{
	puts("gmemctl list [domains|regions|sessions|tenants]\n\n"
	     "Lists what the socket may see; without a word, domains. Tenants: admin socket only.");
	return CTL_OK;
}

int cmd_list(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	const struct listing *listing;
	json_object *rows;
	int option, r = CTL_OK;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? show_help() : CTL_USAGE;
	listing = find_listing(optind < argc ? argv[optind] : "domains");
	if (!listing || argc - optind > 1)
		return ctl_complain(ctl, CTL_USAGE,
				    "list takes one of domains, regions, sessions, tenants");
	rows = json_object_new_array();
	if (listing->walk(ctl->client, rows) < 0)
		r = ctl_fail(ctl, "list");
	else if (ctl->json)
		r = ctl_print_json(rows);
	else
		listing->print(rows, gmem_client_is_admin(ctl->client));
	json_object_put(rows);
	return r;
}
