/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <inttypes.h>
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

enum column_style {
	STYLE_TEXT, /* as it is, "-" when empty */
	STYLE_SIZE,
	STYLE_TIME,
	STYLE_HEX,
	STYLE_LIFE,  /* "persistent" or "bound" */
	STYLE_STATE, /* who has a domain, or how long it waits */
	STYLE_SOUND, /* can a region be used? */
};

struct column {
	const char *heading;
	const char *key; /* of the row's JSON object */
	enum column_style style;
	bool admin; /* shown on admin sockets only */
};

static const struct column domain_columns[] = {
	{ "DOMAIN", "domain", STYLE_TEXT, false },
	{ "TENANT", "tenant", STYLE_TEXT, true },
	{ "NAME", "name", STYLE_TEXT, false },
	{ "KIND", "kind", STYLE_TEXT, false },
	{ "LIFE", "persistent", STYLE_LIFE, false },
	{ "STATE", "attached", STYLE_STATE, false },
	{ "REGIONS", "regions", STYLE_TEXT, false },
	{ "RESERVED", "reserved_bytes", STYLE_SIZE, false },
	{ "ALLOCATED", "allocated_bytes", STYLE_SIZE, false },
	{ "PRIVATE", "private_bytes", STYLE_SIZE, false },
	{ "AGE", "age_ms", STYLE_TIME, false },
	{ 0 },
};

static const struct column region_columns[] = {
	{ "REGION", "region", STYLE_TEXT, false },
	{ "DOMAIN", "domain", STYLE_TEXT, false },
	{ "TENANT", "tenant", STYLE_TEXT, true },
	{ "NAME", "name", STYLE_TEXT, false },
	{ "GPA", "gpa", STYLE_HEX, false },
	{ "SIZE", "size", STYLE_SIZE, false },
	{ "PAGES", "page_size", STYLE_SIZE, false },
	{ "ALLOCATED", "allocated_bytes", STYLE_SIZE, false },
	{ "PRIVATE", "private_bytes", STYLE_SIZE, false },
	{ "JOBS", "jobs", STYLE_TEXT, false },
	{ "STATE", "quarantined", STYLE_SOUND, false },
	{ 0 },
};

static const struct column session_columns[] = {
	{ "SESSION", "session", STYLE_TEXT, false }, { "TENANT", "tenant", STYLE_TEXT, true },
	{ "CLIENT", "client", STYLE_TEXT, false },   { "PID", "pid", STYLE_TEXT, false },
	{ "UID", "uid", STYLE_TEXT, false },	     { "DOMAINS", "domains", STYLE_TEXT, false },
	{ "JOBS", "jobs", STYLE_TEXT, false },	     { 0 },
};

static const struct column tenant_columns[] = {
	{ "TENANT", "tenant", STYLE_TEXT, false },   { "SESSIONS", "sessions", STYLE_TEXT, false },
	{ "DOMAINS", "domains", STYLE_TEXT, false }, { "REGIONS", "regions", STYLE_TEXT, false },
	{ "RESERVED", "memory", STYLE_SIZE, false }, { 0 },
};

static void write_state(struct table *table, json_object *row)
{
	char left[CTL_SIZE_TEXT];

	if (ctl_truth(row, "quarantined"))
		table_cell(table, "quarantined");
	else if (ctl_truth(row, "attached"))
		table_cell(table, "pid %s", ctl_text(row, "pid"));
	else
		table_cell(table, "orphaned, %s left",
			   ctl_time_text(ctl_number(row, "orphan_ttl_ms"), left));
}

static void write_cell(struct table *table, const struct column *column, json_object *row)
{
	const char *text = ctl_text(row, column->key);
	char buffer[CTL_SIZE_TEXT];

	switch (column->style) {
	case STYLE_TEXT:
		table_cell(table, "%s", text[0] != '\0' ? text : "-");
		break;
	case STYLE_SIZE:
		table_cell(table, "%s", ctl_size_text(ctl_number(row, column->key), buffer));
		break;
	case STYLE_TIME:
		table_cell(table, "%s", ctl_time_text(ctl_number(row, column->key), buffer));
		break;
	case STYLE_HEX:
		table_cell(table, "%#" PRIx64, ctl_number(row, column->key));
		break;
	case STYLE_LIFE:
		table_cell(table, "%s", ctl_truth(row, column->key) ? "persistent" : "bound");
		break;
	case STYLE_STATE:
		write_state(table, row);
		break;
	case STYLE_SOUND:
		table_cell(table, "%s", ctl_truth(row, column->key) ? "quarantined" : "sound");
		break;
	}
}

static void print_rows(const struct column *columns, json_object *rows, bool admin)
{
	const char *headings[TABLE_COLUMNS_MAX];
	const struct column *column;
	struct table *table;
	size_t n = 0;

	for (column = columns; column->heading; column++)
		if (admin || !column->admin)
			headings[n++] = column->heading;
	table = table_new(headings, n);
	for (size_t i = 0; i < json_object_array_length(rows); i++)
		for (column = columns; column->heading; column++)
			if (admin || !column->admin)
				write_cell(table, column, json_object_array_get_idx(rows, i));
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

/* The first account is the host's, which is no tenant. */
static int walk_tenants(gmem_client *client, json_object *rows)
{
	int r = gmem_list_accounts(client, add_tenant, rows);

	if (r >= 0)
		(void)json_object_array_del_idx(rows, 0, 1);
	return r;
}

static const struct listing {
	const char *name;
	int (*walk)(gmem_client *client, json_object *rows);
	const struct column *columns;
} listings[] = {
	{ "domains", walk_domains, domain_columns },
	{ "regions", walk_regions, region_columns },
	{ "sessions", walk_sessions, session_columns },
	{ "tenants", walk_tenants, tenant_columns },
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
	if (listing->walk == walk_tenants && !gmem_client_is_admin(ctl->client))
		return ctl_complain(ctl, CTL_FAILED, "list tenants needs the admin socket");
	rows = json_object_new_array();
	if (listing->walk(ctl->client, rows) < 0)
		r = ctl_fail(ctl, "list");
	else if (ctl->json)
		r = ctl_print_json(rows);
	else
		print_rows(listing->columns, rows, gmem_client_is_admin(ctl->client));
	json_object_put(rows);
	return r;
}
