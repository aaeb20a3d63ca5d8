/*
 * analyzer.h - put before every file that clang-tidy reads. The analyzer looks at one file at a
 * time: without being told what these functions always do, it follows paths that do not exist.
 */
#ifndef SLIPWAY_ANALYZER_H
#define SLIPWAY_ANALYZER_H

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/base/str.h"

#define err_set(...) (err_set(__VA_ARGS__), -1)
#define err_errno(...) (err_errno(__VA_ARGS__), -1)
#define err_wrap(...) (err_wrap(__VA_ARGS__), -1)
#define str_empty(s) (!(s) || str_empty(s))

/* cmocka's fail() leaves the test, and does not say so. */
_Noreturn void _fail(const char *const file, const int line);

#endif
