/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <string.h>

#include "gmemctl.h"

int ctl_policy_row(void *rows, const struct gmem_policy_row *row)
{
	json_object *tree = json_object_new_object();

	json_object_object_add(tree, "key", json_object_new_string(row->key));
	json_object_object_add(tree, "value", json_object_new_string(row->value));
	json_object_object_add(tree, "source",
			       row->source[0] ? json_object_new_string(row->source) : NULL);
	return json_object_array_add(rows, tree);
}

void ctl_print_policy(json_object *rows)
{
	static const char *const headings[] = { "KEY", "VALUE", "SOURCE" };
	struct table *table = table_new(headings, 3);

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *row = json_object_array_get_idx(rows, i);
		const char *value = ctl_text(row, "value");
		const char *source = ctl_text(row, "source");

		table_cell(table, "%s", ctl_text(row, "key"));
		table_cell(table, "%s", *value ? value : "-");
		table_cell(table, "%s", *source ? source : "default");
	}
	table_print(table, stdout);
	table_free(table);
}

static int show(struct ctl *ctl, const char *tenant)
{
	json_object *tree, *rows = json_object_new_array();
	int r = CTL_OK;

	if (gmem_list_policy(ctl->client, tenant, ctl_policy_row, rows) < 0) {
		json_object_put(rows);
		return ctl_fail(ctl, "policy show");
	}
	tree = json_object_new_object();
	if (!tenant && !gmem_client_is_admin(ctl->client))
		tenant = gmem_client_tenant(ctl->client);
	json_object_object_add(tree, "account", json_object_new_string(tenant ? tenant : "host"));
	json_object_object_add(tree, "policy", rows);
	if (ctl->json)
		r = ctl_print_json(tree);
	else
		ctl_print_policy(rows);
	json_object_put(tree);
	return r;
}

static int check(struct ctl *ctl, const char *tenant)
{
	char fault[1024] = "";
	int r = gmem_check_policy(ctl->client, tenant, fault, sizeof(fault));
	json_object *tree;

	if (r < 0)
		return ctl_fail(ctl, "policy check");
	if (!ctl->json) {
		if (r)
			fprintf(stderr, "gmemctl: %s\n", fault);
		else
			puts("a reload would succeed");
		return r ? CTL_BAD_POLICY : CTL_OK;
	}
	tree = json_object_new_object();
	json_object_object_add(tree, "good", json_object_new_boolean(r == 0));
	json_object_object_add(tree, "fault", r ? json_object_new_string(fault) : NULL);
	(void)ctl_print_json(tree);
	json_object_put(tree);
	return r ? CTL_BAD_POLICY : CTL_OK;
}

static int show_help(void)
{
	puts("gmemctl policy show [TENANT]\n"
	     "gmemctl policy check [TENANT]\n\n"
	     "show: every key in force, its value, and the file and line that it comes from; "
	     "\"-\"\n"
	     "is what an empty assignment stands for. On a tenant's socket its own policy; on the\n"
	     "admin socket that of TENANT, or the host's limits.\n"
	     "check (admin socket): would a reload succeed? Reads the files of TENANT, or of all\n"
	     "tenants and the host, and applies nothing. Exit status 4 when it would not.");
	return CTL_OK;
}

int cmd_policy(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	const char *action, *tenant;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? show_help() : CTL_USAGE;
	if (optind >= argc || argc - optind > 2)
		return ctl_complain(ctl, CTL_USAGE, "policy takes show or check, and a tenant");
	action = argv[optind];
	tenant = optind + 1 < argc ? argv[optind + 1] : NULL;
	if (strcmp(action, "show") == 0)
		return show(ctl, tenant);
	if (strcmp(action, "check") == 0)
		return check(ctl, tenant);
	return ctl_complain(ctl, CTL_USAGE, "policy show or policy check, not \"%s\"", action);
}
