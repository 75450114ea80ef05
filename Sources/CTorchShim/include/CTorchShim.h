#pragma once

// Nothing to include: the shim is opened at run time and speaks through CTorch.h's `ct_api`.
