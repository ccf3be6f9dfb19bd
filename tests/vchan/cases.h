/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_TESTS_CASES_H
#define QDB_TESTS_CASES_H

#include "tests/vchan/end.h"

/* What one end does; both run it, and it asks which one it is. */
struct conformance_case {
	const char *name;
	void (*run)(struct end *e);
};

/* Each ends with a row without a name. */
extern const struct conformance_case connecting_cases[]; /* beginning and ending */
extern const struct conformance_case moving_cases[];     /* bytes on one connection */
extern const struct conformance_case lasting_cases[]; /* one connection after another */

#endif
