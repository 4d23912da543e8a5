/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and folders of inputs, with the fd and heap balance of the test
 * harness around each: replay CORPUS...
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gm_balance.h"
#include "gm_fuzz.h"

#define INPUT_MAX (1 << 20)

static uint8_t input[INPUT_MAX];

static bool replay_file(const char *path)
{
	FILE *file = fopen(path, "re");
	size_t size, faults;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	size = fread(input, 1, sizeof(input), file);
	fclose(file);
	/* Before and not after: a target that aborts has said on what. */
	printf("%s: %zu bytes\n", path, size);
	fflush(stdout);

	gm_balance_open_fds();
	gm_balance_open_heap();
	(void)LLVMFuzzerTestOneInput(input, size);
	faults = gm_balance_close_heap() + gm_balance_close_fds();
	return faults == 0;
}

static bool replay_folder(const char *path, size_t *n_inputs)
{
	char inner[PATH_MAX];
	struct dirent **entries;
	bool good = true;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			(void)snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name);
			good = replay_file(inner) && good;
			++*n_inputs;
		}
		free(entries[i]);
	}
	free(entries);
	return good;
}

int main(int argc, char **argv)
{
	size_t n_inputs = 0;
	bool good = true;
	struct stat st;

	(void)LLVMFuzzerTestOneInput(input, 0);
	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) == 0 && !S_ISDIR(st.st_mode)) {
			good = replay_file(argv[i]) && good;
			n_inputs++;
		} else {
			good = replay_folder(argv[i], &n_inputs) && good;
		}
	}
	printf("%zu inputs\n", n_inputs);
	if (n_inputs == 0)
		fprintf(stderr, "no inputs: a corpus is missing\n");
	return good && n_inputs ? EXIT_SUCCESS : EXIT_FAILURE;
}
