/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `systemctl cat` prints, by this project's reader: the state of a unit, then the path of each
 * of its files that has a text, in the order in which they apply.
 *
 * unit_cat ROOT UNIT...
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

static int print_unit(const struct gm_unit_tree *tree, const char *id)
{
	static const char *const states[] = { "missing", "masked", "loaded" };
	char said[GM_UNIT_SAID_MAX];
	struct gm_unit unit;
	int r = gm_unit_load(tree, id, &unit, said);

	if (r) {
		printf("%s: fault: %s\n", id, r == -EINVAL ? said : strerror(-r));
		return 1;
	}
	printf("%s: %s\n", id, states[unit.state]);
	for (size_t i = 0; i < unit.n_parts; i++)
		if (unit.parts[i].text)
			puts(unit.parts[i].path);
	gm_unit_done(&unit);
	return 0;
}

int main(int argc, char **argv)
{
	struct gm_unit_tree tree;
	int failed = 0, r;

	if (argc < 3)
		return 2;
	r = gm_unit_tree_open(argv[1], &tree);
	if (r) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
		return 1;
	}
	for (int i = 2; i < argc; i++)
		failed |= print_unit(&tree, argv[i]);
	gm_unit_tree_done(&tree);
	return failed;
}
