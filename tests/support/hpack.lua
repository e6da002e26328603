-- nghttp2's coder of header fields (HPACK), for specs that speak HTTP/2 themselves.
local ffi = require "ffi"

ffi.cdef [[
typedef struct { uint8_t *name; uint8_t *value; size_t namelen; size_t valuelen; uint8_t flags; } h2_nv;
int nghttp2_hd_deflate_new(void **deflater, size_t size);
ssize_t nghttp2_hd_deflate_hd(void *deflater, uint8_t *to, size_t size, const h2_nv *nva, size_t count);
void nghttp2_hd_deflate_del(void *deflater);
int nghttp2_hd_inflate_new(void **inflater);
ssize_t nghttp2_hd_inflate_hd2(void *inflater, h2_nv *nv, int *flags, const uint8_t *in, size_t len, int final);
int nghttp2_hd_inflate_end_headers(void *inflater);
void nghttp2_hd_inflate_del(void *inflater);
]]

return ffi.load "nghttp2"
