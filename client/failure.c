/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "gm_verdict.h"

static void append(struct gm_failure *failure, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void append(struct gm_failure *failure, const char *format, ...)
{
	size_t length = strlen(failure->text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(failure->text + length, sizeof(failure->text) - length, format, args);
	va_end(args);
}

void gm_copy_printable(char *to, size_t size, const void *from, size_t length)
{
	const unsigned char *bytes = from;
	size_t n = length < size - 1 ? length : size - 1;

	for (size_t i = 0; i < n; i++) {
		to[i] = '?';
		if (bytes[i] >= 0x20 && bytes[i] < 0x7f)
			to[i] = (char)bytes[i];
	}
	to[n] = '\0';
}

static const char *errno_text(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

static const char *rule_name(int rule)
{
	return rule == GM_RULE_NONE ? "" : gm_rule_name(rule);
}

/* What the sentence so far does not say. */
static void append_detail(struct gm_failure *failure, bool with_offset)
{
	bool has_numbers = strstr(failure->text, "asked ");
	const char *separator = " (";

	if (failure->rule[0] && !strstr(failure->text, failure->rule)) {
		append(failure, "%s%s", separator, failure->rule);
		separator = ", ";
	}
	if (!has_numbers && (failure->limit || failure->used || failure->asked)) {
		append(failure, "%slimit %" PRIu64 ", used %" PRIu64 ", asked %" PRIu64, separator,
		       failure->limit, failure->used, failure->asked);
		separator = ", ";
	}
	if (with_offset) {
		append(failure, "%soffset %" PRIu64, separator, failure->offset);
		separator = ", ";
	}
	if (failure->sys_errno) {
		append(failure, "%s%s", separator, errno_text(failure->sys_errno));
		separator = ", ";
	}
	if (separator[0] == ',')
		append(failure, ")");
}

/* "tenant acme: the policy's limit of memory (MemoryMax, limit 4096, used 0, asked 8192)." */
static void compose_sentence(struct gm_failure *failure, const char *said, bool with_offset)
{
	failure->text[0] = '\0';
	if (failure->object[0] && !strstr(said, failure->object))
		append(failure, "%s: ", failure->object);
	append(failure, "%s", said);
	append_detail(failure, with_offset);
	append(failure, ".");
}

int gm_failure_from_wire(struct gm_failure *failure, const Gmem__Status *status)
{
	char said[GM_FAILURE_TEXT_SIZE / 2];
	int code = (int)status->code;
	int rule = (int)status->rule;

	if (code <= 0)
		return -1;
	/* A later daemon's code: its text explains it. */
	if (code > GMEM_FAILED)
		code = GMEM_FAILED;
	*failure = (struct gm_failure){
		.status = code,
		.rule = rule_name(rule),
		.offset = status->offset,
		.limit = status->limit,
		.used = status->used,
		.asked = status->asked,
		/* What is no errno of Linux is none of ours. */
		.sys_errno = status->sys_errno < 4096 ? (int)status->sys_errno : EIO,
		.firmware_error = status->firmware_error,
	};
	gm_copy_printable(failure->object, sizeof(failure->object), status->object.data,
			  status->object.len);
	gm_copy_printable(said, sizeof(said), status->text.data, status->text.len);
	/* An offset of 0 says something only where a page is meant. */
	compose_sentence(failure, said[0] ? said : gm_rule_text(rule),
			 failure->offset || rule == GM_RULE_PAGE_STATE);
	return 0;
}

static void set_sentence(struct gm_failure *failure, int status, const char *rule,
			 const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void set_sentence(struct gm_failure *failure, int status, const char *rule,
			 const char *format, va_list args)
{
	*failure = (struct gm_failure){ .status = status, .rule = rule };
	(void)vsnprintf(failure->text, sizeof(failure->text), format, args);
}

void gm_failure_set(struct gm_failure *failure, int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_sentence(failure, status, "", format, args);
	va_end(args);
}

void gm_client_clear(struct gmem_client *client)
{
	client->failure.status = 0;
	client->failure.text[0] = '\0';
	client->error = (struct gmem_error){
		.rule = "",
		.object = "",
		.text = "The last call succeeded.",
	};
}

static int publish(struct gmem_client *client)
{
	const struct gm_failure *failure = &client->failure;

	client->error = (struct gmem_error){
		.status = failure->status,
		.rule = failure->rule,
		.object = failure->object,
		.offset = failure->offset,
		.limit = failure->limit,
		.used = failure->used,
		.asked = failure->asked,
		.sys_errno = failure->sys_errno,
		.text = failure->text,
		.firmware_error = failure->firmware_error,
	};
	return -failure->status;
}

int gm_client_fail(struct gmem_client *client, const struct gm_failure *failure)
{
	client->failure = *failure;
	return publish(client);
}

int gm_fail(struct gmem_client *client, int status, int rule, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_sentence(&client->failure, status, rule_name(rule), format, args);
	va_end(args);
	return publish(client);
}

int gm_fail_numbers(struct gmem_client *client, int status, int rule, const char *object,
		    uint64_t limit, uint64_t used, uint64_t asked)
{
	struct gm_failure *failure = &client->failure;

	*failure = (struct gm_failure){
		.status = status,
		.rule = rule_name(rule),
		.limit = limit,
		.used = used,
		.asked = asked,
	};
	gm_copy_printable(failure->object, sizeof(failure->object), object, strlen(object));
	compose_sentence(failure, gm_rule_text(rule), false);
	return publish(client);
}

int gm_fail_errno(struct gmem_client *client, int error, const char *what)
{
	error = error < 0 ? -error : error;
	gm_failure_set(&client->failure, GMEM_SYSTEM, "%s: %s", what, errno_text(error));
	client->failure.sys_errno = error;
	return publish(client);
}

const struct gmem_error *gmem_error(const gmem_client *client)
{
	static const struct gmem_error no_client = {
		.status = GMEM_DISCONNECTED,
		.rule = "",
		.object = "",
		.text = "There is no client: ret_error of gmem_connect says why.",
	};

	return client ? &client->error : &no_client;
}

const char *gmem_status_name(int status)
{
	status = status < 0 ? -status : status;
	switch (status) {
	case GMEM_DISCONNECTED:
		return "disconnected";
	case GMEM_PROTOCOL:
		return "protocol";
	case GMEM_SYSTEM:
		return "system";
	case GMEM_AGAIN:
		return "again";
	case GMEM_TIMED_OUT:
		return "timed-out";
	default:
		return gm_verdict_name(status);
	}
}
