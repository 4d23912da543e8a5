/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of methods as text, against methods.golden: a change of who may call what shows in
 * review. "t_methods --print" writes the text.
 */
#include <stdlib.h>
#include <string.h>

#include "gm_msg.h"
#include "gm_test.h"
#include "method.h"

#define TEXT_MAX 8192

static void append(char *text, const char *line)
{
	size_t used = strlen(text);

	assert_true(used + strlen(line) < TEXT_MAX);
	strcpy(text + used, line);
}

static void print_method(unsigned type, char *text)
{
	const struct gm_method *method = gm_method_find(type);
	char line[256];

	snprintf(line, sizeof(line),
		 "%2u %-15s since %u  states%s%s  tenant %-3s  admin %-3s  "
		 "body %5u%s%s%s\n",
		 type, method->name, method->since,
		 method->states & GM_METHOD_GREETING ? " greeting" : "",
		 method->states & GM_METHOD_OPEN ? " open    " : "", method->tenant ? "yes" : "no",
		 method->admin ? "yes" : "no", method->body_max,
		 method->flags & GM_METHOD_MUTATES ? " mutates" : "",
		 method->flags & GM_METHOD_ASYNC ? " async" : "",
		 method->flags & GM_METHOD_SECRET ? " secret" : "");
	append(text, line);
}

static const char *table_text(void)
{
	static char text[TEXT_MAX];

	text[0] = '\0';
	for (unsigned type = 1; type < GM_MSG_REQUEST_N_; type++)
		print_method(type, text);
	return text;
}

static void the_table_is_as_reviewed(void **state)
{
	static char golden[TEXT_MAX];
	FILE *file = fopen(GOLDEN_FILE, "re");
	size_t n;

	(void)state;
	assert_non_null(file);
	n = fread(golden, 1, sizeof(golden) - 1, file);
	golden[n] = '\0';
	fclose(file);
	assert_string_equal(table_text(), golden);
}

static void every_row_is_whole(void **state)
{
	(void)state;
	assert_null(gm_method_find(0));
	assert_null(gm_method_find(GM_MSG_REQUEST_N_));
	for (unsigned type = 1; type < GM_MSG_REQUEST_N_; type++) {
		const struct gm_method *method = gm_method_find(type);

		assert_string_equal(method->name, gm_msg_format(type)->name);
		assert_non_null(gm_msg_format(type)->request);
		assert_true(method->tenant || method->admin);
		assert_int_not_equal(method->states, 0);
		assert_true(method->body_max <= GM_BODY_MAX);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_table_is_as_reviewed),
		gm_test(every_row_is_whole),
	};

	if (argc == 2 && strcmp(argv[1], "--print") == 0)
		return fputs(table_text(), stdout) < 0;
	return gm_test_run("methods", tests, GM_ARRAY_SIZE(tests));
}
