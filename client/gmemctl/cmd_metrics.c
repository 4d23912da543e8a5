/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>

#include "gmemctl.h"

static int show_help(void)
{
	puts("gmemctl metrics [--tenant NAME]\n\n"
	     "What the daemon counts and measures, as OpenMetrics text: of the tenant; on the\n"
	     "admin socket of the host and of every tenant.\n\n"
	     "  --tenant NAME   only this tenant (admin socket)");
	return CTL_OK;
}

int cmd_metrics(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "tenant", required_argument, NULL, 't' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	const char *tenant = NULL;
	json_object *tree;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option != 't')
			return option == 'h' ? show_help() : CTL_USAGE;
		tenant = optarg;
	}
	if (optind != argc)
		return ctl_complain(ctl, CTL_USAGE, "metrics takes no argument");
	tree = metrics_tree(ctl, tenant);
	if (!tree)
		return ctl_fail(ctl, "metrics");
	if (ctl->json)
		(void)ctl_print_json(tree);
	else
		openmetrics_print(tree, stdout);
	json_object_put(tree);
	return CTL_OK;
}
