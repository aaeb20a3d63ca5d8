/*
 * analyzer.h - put before every file that clang-tidy reads: the analyzer looks at one file at a
 * time and can't know that these always return -1, and would follow paths that do not exist.
 */
#ifndef SLIPWAY_ANALYZER_H
#define SLIPWAY_ANALYZER_H

#include "core/base/base.h"
#include "core/base/err.h"

#define err_set(...) (err_set(__VA_ARGS__), -1)
#define err_errno(...) (err_errno(__VA_ARGS__), -1)
#define err_wrap(...) (err_wrap(__VA_ARGS__), -1)

#endif
