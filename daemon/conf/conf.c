/* SPDX-License-Identifier: Apache-2.0 */
#include "conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf_private.h"

struct application {
	struct gm_conf conf;
	struct gm_conf_sources sources; /* of what these texts assign */
	const char *path;		/* of the text that is being read */
	bool has_sources;
	const struct gm_unit_place *place;
	struct gm_unit_fault *fault;
	char expanded[GM_UNIT_LINE_MAX + 1];
};

void gm_conf_sources_done(struct gm_conf_sources *sources)
{
	for (size_t i = 0; i < GM_CONF_KEYS_MAX; i++) {
		free(sources->of[i]);
		sources->of[i] = NULL;
	}
}

static int fault_of(const struct application *application, const struct gm_unit_line *line,
		    const char *reason)
{
	return gm_unit_fault_at(application->fault, line->number, *line->key ? line->key : "=",
				reason);
}

/* An assignment of nothing leaves nothing to tell the source of. */
static int note_source(struct application *application, unsigned key, unsigned line)
{
	char **source = &application->sources.of[key];

	if (!application->has_sources)
		return 0;
	free(*source);
	*source = NULL;
	if (!gm_conf_is_assigned(&application->conf, key))
		return 0;
	if (asprintf(source, "%s:%u", application->path, line) >= 0)
		return 0;
	*source = NULL;
	return -ENOMEM;
}

static int expand(struct application *application, const struct gm_unit_line *line,
		  char **ret_value, struct gm_value_fault *why)
{
	*ret_value = line->value;
	if (!application->place)
		return 0;
	*ret_value = application->expanded;
	return gm_unit_expand(application->place, line->value, application->expanded,
			      sizeof(application->expanded), why->reason);
}

static int assign(struct application *application, const struct gm_unit_line *line)
{
	struct gm_value_fault why = { .reason = "" };
	unsigned key = 0;
	char *value;
	int r;

	if (!line->value)
		return fault_of(application, line, "not an assignment: KEY=VALUE");
	if (!*line->key)
		return fault_of(application, line, "no key before the =");
	if (line->too_long) {
		gm_value_bad(&why, "longer than %d bytes", GM_UNIT_LINE_MAX);
		return fault_of(application, line, why.reason);
	}
	r = expand(application, line, &value, &why);
	if (!r)
		r = gm_conf_assign(&application->conf, line->key, value, &key, &why);
	return r ? fault_of(application, line, why.reason)
		 : note_source(application, key, line->number);
}

static int on_header(struct application *application, const struct gm_unit_line *line)
{
	if (strcmp(line->section, GM_CONF_SECTION) == 0 ||
	    strcasecmp(line->section, GM_CONF_SECTION) != 0)
		return 0;
	return gm_unit_fault_at(application->fault, line->number, "section",
				"the name is spelt [" GM_CONF_SECTION "]");
}

static int on_line(void *arg, const struct gm_unit_line *line)
{
	struct application *application = arg;

	if (!line->key)
		return on_header(application, line);
	if (line->section)
		return strcmp(line->section, GM_CONF_SECTION) == 0 ? assign(application, line) : 0;
	if (line->value && *line->key)
		return fault_of(application, line,
				"outside of a section: [" GM_CONF_SECTION "] comes first");
	return assign(application, line);
}

/* What these texts have assigned has a new source, and what follows from it none. */
static void give_sources(struct application *application, struct gm_conf_sources *sources)
{
	for (unsigned key = 0; sources && key < gm_conf_n_keys(); key++) {
		if (!application->sources.of[key])
			continue;
		free(sources->of[key]);
		sources->of[key] = application->sources.of[key];
		application->sources.of[key] = NULL;
	}
}

static int read_texts(struct application *application, const struct gm_conf_text *texts,
		      size_t n_texts, size_t *ret_at)
{
	int r = 0;

	for (size_t i = 0; i < n_texts && r == 0; i++) {
		*ret_at = i;
		application->path = texts[i].path;
		r = gm_unit_text_read(texts[i].text, texts[i].length, on_line, application,
				      application->fault);
	}
	return r;
}

int gm_conf_apply(enum gm_conf_scope scope, const struct gm_conf_text *texts, size_t n_texts,
		  const struct gm_unit_place *place, uint64_t host_memory, struct gm_policy *policy,
		  struct gm_conf_sources *sources, size_t *ret_at, struct gm_unit_fault *ret_fault)
{
	struct application application = {
		.conf = { .scope = scope,
			  .defaults = policy,
			  .host_memory = host_memory,
			  .policy = *policy },
		.has_sources = sources != NULL,
		.place = place,
		.fault = ret_fault,
	};
	int r = read_texts(&application, texts, n_texts, ret_at);

	if (r == 0) {
		gm_conf_finish(&application.conf);
		*policy = application.conf.policy;
		give_sources(&application, sources);
	}
	gm_conf_sources_done(&application.sources);
	return r;
}

int gm_conf_parse(const char *text, size_t length, uint64_t host_memory, struct gm_policy *policy,
		  struct gm_unit_fault *ret_fault)
{
	const struct gm_conf_text one = { .text = text, .length = length };
	size_t at;

	return gm_conf_apply(GM_CONF_TENANT, &one, 1, /* place= */ NULL, host_memory, policy,
			     /* sources= */ NULL, &at, ret_fault);
}
