/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "gmemctl.h"

static int add_region(void *arg, const struct gmem_region_info *info)
{
	return json_object_array_add(arg, ctl_json_region(info));
}

/* Sizes for people, everything else as it is. */
static void print_member(const char *key, json_object *value)
{
	size_t length = strlen(key);
	bool is_size = (length > 6 && strcmp(key + length - 6, "_bytes") == 0) ||
		       strcmp(key, "observed_limit") == 0 || strcmp(key, "size") == 0 ||
		       strcmp(key, "page_size") == 0;
	bool is_time = length > 3 && strcmp(key + length - 3, "_ms") == 0;
	char text[CTL_SIZE_TEXT];

	printf("%18s  ", key);
	if (!value)
		puts("-");
	else if (is_size)
		printf("%s (%" PRIu64 ")\n", ctl_size_text(json_object_get_uint64(value), text),
		       json_object_get_uint64(value));
	else if (is_time)
		puts(ctl_time_text(json_object_get_uint64(value), text));
	else if (strcmp(key, "gpa") == 0)
		printf("%#" PRIx64 "\n", json_object_get_uint64(value));
	else
		puts(json_object_get_string(value));
}

static void print_object(json_object *tree)
{
	json_object_object_foreach(tree, key, value)
	{
		if (json_object_is_type(value, json_type_array) &&
		    strcmp(key, "region_list") == 0) {
			for (size_t i = 0; i < json_object_array_length(value); i++) {
				puts("");
				print_object(json_object_array_get_idx(value, i));
			}
			continue;
		}
		print_member(key, value);
	}
}

/* NULL when there is no such domain or its regions cannot be had: gmem_error says which. */
static json_object *domain_tree(struct ctl *ctl, uint64_t id)
{
	struct gmem_domain_info info;
	json_object *tree, *regions;

	if (gmem_get_domain(ctl->client, id, &info) < 0)
		return NULL;
	tree = ctl_json_domain(&info);
	regions = json_object_new_array();
	json_object_object_add(tree, "region_list", regions);
	if (gmem_list_regions(ctl->client, id, add_region, regions) < 0) {
		json_object_put(tree);
		return NULL;
	}
	return tree;
}

static json_object *region_tree(struct ctl *ctl, uint64_t id)
{
	struct gmem_region_info info;

	return gmem_get_region(ctl->client, id, &info) < 0 ? NULL : ctl_json_region(&info);
}

static int show_help(void)
{
	puts("gmemctl show ID\n\n"
	     "Everything about the domain (with its regions) or the region that has this id.");
	return CTL_OK;
}

int cmd_show(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	json_object *tree;
	uint64_t id;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? show_help() : CTL_USAGE;
	if (argc - optind != 1 || parse_id(argv[optind], &id) < 0)
		return ctl_complain(ctl, CTL_USAGE, "show takes one id, 1 to 16 hex digits");
	tree = domain_tree(ctl, id);
	if (!tree && gmem_error(ctl->client)->status == GMEM_NO_SUCH_OBJECT)
		tree = region_tree(ctl, id);
	if (!tree)
		return ctl_fail(ctl, "show");
	if (ctl->json)
		(void)ctl_print_json(tree);
	else
		print_object(tree);
	json_object_put(tree);
	return CTL_OK;
}
