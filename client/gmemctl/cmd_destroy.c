/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "gmemctl.h"

static int destroy_help(void)
{
	puts("gmemctl destroy [ID] --token-file FILE\n\n"
	     "Ends the domain whose id and token are in FILE, and removes FILE.\n"
	     "An ID, when given, must be the same.");
	return CTL_OK;
}

int cmd_destroy(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "token-file", required_argument, NULL, 't' },
					       { NULL, 0, NULL, 0 } };
	uint8_t token[GMEM_TOKEN_SIZE];
	const char *token_file = NULL;
	uint64_t id, named_id;
	int option, r;

	if (!ctl->client)
		return destroy_help();
	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (option != 't')
			return CTL_USAGE;
		token_file = optarg;
	}
	if (!token_file || argc - optind > 1)
		return ctl_complain(ctl, CTL_USAGE,
				    "destroy takes --token-file FILE and at most one id");
	r = token_load(token_file, &id, token);
	if (r < 0)
		return ctl_complain(ctl, CTL_FAILED, "%s: %s", token_file, strerror(-r));
	if (optind < argc && (parse_id(argv[optind], &named_id) < 0 || named_id != id))
		r = ctl_complain(ctl, CTL_USAGE, "%s is not the domain of %s", argv[optind],
				 token_file);
	else if (gmem_domain_destroy_id(ctl->client, id, token) < 0)
		r = ctl_fail(ctl, "destroy");
	else
		(void)unlink(token_file);
	explicit_bzero(token, sizeof(token));
	return r;
}

static int evict_help(void)
{
	puts("gmemctl evict ID\n\n"
	     "Ends any tenant's domain at once (admin socket). Its VMM, if it lives, is told, but "
	     "keeps\n"
	     "the memory that it has open: end the VMM to have that back.");
	return CTL_OK;
}

int cmd_evict(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	char size[CTL_SIZE_TEXT];
	json_object *tree;
	uint64_t id, bytes;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? evict_help() : CTL_USAGE;
	if (argc - optind != 1 || parse_id(argv[optind], &id) < 0)
		return ctl_complain(ctl, CTL_USAGE,
				    "evict takes a domain's id, 1 to 16 hex digits");
	if (gmem_evict(ctl->client, id, &bytes) < 0)
		return ctl_fail(ctl, "evict");
	if (!ctl->json) {
		printf("evicted, %s given back\n", ctl_size_text(bytes, size));
		return CTL_OK;
	}
	tree = json_object_new_object();
	json_object_object_add(tree, "bytes", json_object_new_uint64(bytes));
	(void)ctl_print_json(tree);
	json_object_put(tree);
	return CTL_OK;
}
