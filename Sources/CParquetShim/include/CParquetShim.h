#pragma once

// This library exports one function, coppice_parquet_entry; CParquet.h has its type and what it gives.
