/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans: what the operator expects of a launch, step by step, in a file that gmemctl measure --plan
 * has written. They decide nothing. When a launch has another digest than those that are allowed,
 * they tell where it parts from what was expected.
 */
#ifndef GM_EXEC_PLAN_H
#define GM_EXEC_PLAN_H

#include "launch_rules.h"
#include "policy.h"
#include "trail.h"

/* A plan that is longer is not read. More than a trail has tags for would not be compared. */
#define GM_PLAN_SIZE_MAX (256 * GM_KIB)

/* Refusals of one launch that are explained: each reads files on the loop. */
#define GM_PLAN_ASKED_MAX 8

#define GM_PLAN_TEXT_MAX 140

/* What is known of a launch that wants to be finished. */
struct gm_plan_launch {
	struct gm_trail *trail; /* NULL: it was not kept */
	const struct gm_launch_vcpus *vcpus;
	const uint64_t *vcpu_tags; /* of the first vCPU and every other; NULL: not known */
};

/*
 * Where the launch parts from the plan of @length bytes: in @ret_text, and the number of the step
 * in *ret_step, counted from 1. False: the plan cannot be read, or nothing parts.
 */
bool gm_plan_differ(const char *plan, size_t length, const struct gm_plan_launch *launch,
		    size_t *ret_step, char ret_text[GM_PLAN_TEXT_MAX]);

/*
 * The same of the plans of all allowed digests: of that with which the launch has most in common.
 * False: there is none, or it was asked too often. Reads files: a few milliseconds at most.
 */
bool gm_plan_explain(const struct gm_policy *policy, const struct gm_plan_launch *launch,
		     char ret_text[GM_PLAN_TEXT_MAX]);

#endif
