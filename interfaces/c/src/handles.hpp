// What stands behind the opaque handles.
#pragma once

#include <ophis.h>

#include "ophis/core/exec_context.hpp"

struct ophis_context {
  ophis::ExecContext exec;
};
