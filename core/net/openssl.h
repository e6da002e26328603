/* openssl.h: OpenSSL's functions, found at run time; private to the room.
 *
 * Linked in, the libraries cost each process 1.8 MB resident and a millisecond at its start, whether it
 * speaks TLS or not. So they are loaded where the first certificate or digest is used: tls_load. Each name below
 * leads into the table that stands in for the linker's; the code beside reads as any that uses OpenSSL,
 * and its macros work. A function that is missing here is an undefined reference when tidegate is linked:
 * add it to its list and below. */
#ifndef NET_OPENSSL_H
#define NET_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* clang-format off */
/* Of libssl. */
#define OPENSSL_SSL(X) \
    X(SSL_CTX_callback_ctrl) \
    X(SSL_CTX_ctrl) \
    X(SSL_CTX_free) \
    X(SSL_CTX_get_ex_data) \
    X(SSL_CTX_new) \
    X(SSL_CTX_sess_set_new_cb) \
    X(SSL_CTX_set1_cert_store) \
    X(SSL_CTX_set_alpn_protos) \
    X(SSL_CTX_set_alpn_select_cb) \
    X(SSL_CTX_set_cipher_list) \
    X(SSL_CTX_set_ciphersuites) \
    X(SSL_CTX_set_client_CA_list) \
    X(SSL_CTX_set_client_hello_cb) \
    X(SSL_CTX_set_default_verify_paths) \
    X(SSL_CTX_set_ex_data) \
    X(SSL_CTX_set_num_tickets) \
    X(SSL_CTX_set_options) \
    X(SSL_CTX_set_session_id_context) \
    X(SSL_CTX_set_tlsext_ticket_key_evp_cb) \
    X(SSL_CTX_set_verify) \
    X(SSL_CTX_up_ref) \
    X(SSL_CTX_use_PrivateKey) \
    X(SSL_CTX_use_certificate) \
    X(SSL_SESSION_free) \
    X(SSL_SESSION_is_resumable) \
    X(SSL_client_hello_get0_ext) \
    X(SSL_ctrl) \
    X(SSL_do_handshake) \
    X(SSL_free) \
    X(SSL_get0_alpn_selected) \
    X(SSL_get0_param) \
    X(SSL_get1_peer_certificate) \
    X(SSL_get_SSL_CTX) \
    X(SSL_get_certificate) \
    X(SSL_get_error) \
    X(SSL_get_ex_data) \
    X(SSL_get_servername) \
    X(SSL_get_shutdown) \
    X(SSL_get_verify_result) \
    X(SSL_get_version) \
    X(SSL_new) \
    X(SSL_peek_ex) \
    X(SSL_pending) \
    X(SSL_read_ex) \
    X(SSL_session_reused) \
    X(SSL_set_SSL_CTX) \
    X(SSL_set_accept_state) \
    X(SSL_set_bio) \
    X(SSL_set_connect_state) \
    X(SSL_set_ex_data) \
    X(SSL_set_session) \
    X(SSL_set_shutdown) \
    X(SSL_shutdown) \
    X(SSL_version) \
    X(SSL_write_ex) \
    X(TLS_client_method) \
    X(TLS_server_method)

/* Of libcrypto. */
#define OPENSSL_CRYPTO(X) \
    X(ASN1_INTEGER_cmp) \
    X(ASN1_INTEGER_set_uint64) \
    X(ASN1_OBJECT_free) \
    X(ASN1_OCTET_STRING_free) \
    X(ASN1_OCTET_STRING_new) \
    X(ASN1_OCTET_STRING_set) \
    X(ASN1_STRING_get0_data) \
    X(ASN1_STRING_length) \
    X(ASN1_TIME_to_tm) \
    X(AUTHORITY_INFO_ACCESS_free) \
    X(BIO_clear_flags) \
    X(BIO_ctrl) \
    X(BIO_free) \
    X(BIO_get_data) \
    X(BIO_meth_free) \
    X(BIO_meth_new) \
    X(BIO_meth_set_ctrl) \
    X(BIO_meth_set_read_ex) \
    X(BIO_meth_set_write_ex) \
    X(BIO_new) \
    X(BIO_new_mem_buf) \
    X(BIO_s_mem) \
    X(BIO_s_secmem) \
    X(BIO_set_data) \
    X(BIO_set_flags) \
    X(BIO_set_init) \
    X(BN_bn2binpad) \
    X(BN_free) \
    X(CRYPTO_free) \
    X(CRYPTO_memcmp) \
    X(CRYPTO_memdup) \
    X(ECDSA_SIG_free) \
    X(ECDSA_SIG_get0_r) \
    X(ECDSA_SIG_get0_s) \
    X(ERR_clear_error) \
    X(ERR_get_error) \
    X(ERR_peek_error) \
    X(ERR_peek_last_error) \
    X(ERR_reason_error_string) \
    X(EVP_DecodeBlock) \
    X(EVP_DecryptInit_ex) \
    X(EVP_Digest) \
    X(EVP_DigestFinal_ex) \
    X(EVP_DigestInit_ex2) \
    X(EVP_DigestSign) \
    X(EVP_DigestSignInit) \
    X(EVP_DigestUpdate) \
    X(EVP_EncodeBlock) \
    X(EVP_EncryptInit_ex) \
    X(EVP_MAC_CTX_dup) \
    X(EVP_MAC_CTX_free) \
    X(EVP_MAC_CTX_new) \
    X(EVP_MAC_CTX_set_params) \
    X(EVP_MAC_fetch) \
    X(EVP_MAC_final) \
    X(EVP_MAC_free) \
    X(EVP_MAC_init) \
    X(EVP_MAC_update) \
    X(EVP_MD_CTX_free) \
    X(EVP_MD_CTX_new) \
    X(EVP_MD_fetch) \
    X(EVP_PKEY_Q_keygen) \
    X(EVP_PKEY_free) \
    X(EVP_PKEY_get_base_id) \
    X(EVP_PKEY_get_bits) \
    X(EVP_PKEY_get_bn_param) \
    X(EVP_PKEY_get_group_name) \
    X(EVP_PKEY_get_security_bits) \
    X(EVP_PKEY_get_utf8_string_param) \
    X(EVP_PKEY_is_a) \
    X(EVP_aes_128_cbc) \
    X(EVP_aes_256_cbc) \
    X(EVP_sha256) \
    X(GENERAL_NAMES_free) \
    X(OBJ_obj2nid) \
    X(OBJ_txt2obj) \
    X(OCSP_BASICRESP_free) \
    X(OCSP_RESPONSE_free) \
    X(OCSP_SINGLERESP_get0_id) \
    X(OCSP_id_get0_info) \
    X(OCSP_resp_count) \
    X(OCSP_resp_get0) \
    X(OCSP_response_get1_basic) \
    X(OCSP_response_status) \
    X(OCSP_single_get0_status) \
    X(OPENSSL_sk_free) \
    X(OPENSSL_sk_new_null) \
    X(OPENSSL_sk_num) \
    X(OPENSSL_sk_pop_free) \
    X(OPENSSL_sk_push) \
    X(OPENSSL_sk_value) \
    X(OSSL_PARAM_construct_end) \
    X(OSSL_PARAM_construct_octet_string) \
    X(OSSL_PARAM_construct_utf8_string) \
    X(PEM_read_bio_PrivateKey) \
    X(PEM_read_bio_X509) \
    X(PEM_write_bio_PrivateKey) \
    X(PEM_write_bio_X509) \
    X(RAND_bytes) \
    X(TLS_FEATURE_free) \
    X(X509V3_EXT_conf_nid) \
    X(X509_EXTENSION_create_by_OBJ) \
    X(X509_EXTENSION_free) \
    X(X509_NAME_add_entry_by_txt) \
    X(X509_NAME_cmp) \
    X(X509_NAME_dup) \
    X(X509_NAME_free) \
    X(X509_NAME_get_text_by_NID) \
    X(X509_NAME_print_ex) \
    X(X509_REQ_add_extensions) \
    X(X509_REQ_free) \
    X(X509_REQ_get_subject_name) \
    X(X509_REQ_new) \
    X(X509_REQ_set_pubkey) \
    X(X509_REQ_set_version) \
    X(X509_REQ_sign) \
    X(X509_STORE_add_cert) \
    X(X509_STORE_free) \
    X(X509_STORE_new) \
    X(X509_STORE_set_flags) \
    X(X509_STORE_up_ref) \
    X(X509_VERIFY_PARAM_set1_host) \
    X(X509_VERIFY_PARAM_set1_ip_asc) \
    X(X509_VERIFY_PARAM_set_hostflags) \
    X(X509_add_ext) \
    X(X509_check_ca) \
    X(X509_check_private_key) \
    X(X509_cmp) \
    X(X509_cmp_current_time) \
    X(X509_free) \
    X(X509_get0_notAfter) \
    X(X509_get0_notBefore) \
    X(X509_get0_pubkey) \
    X(X509_get0_serialNumber) \
    X(X509_get_ext_d2i) \
    X(X509_get_extended_key_usage) \
    X(X509_get_issuer_name) \
    X(X509_get_serialNumber) \
    X(X509_get_signature_info) \
    X(X509_get_subject_name) \
    X(X509_getm_notAfter) \
    X(X509_getm_notBefore) \
    X(X509_gmtime_adj) \
    X(X509_new) \
    X(X509_set_issuer_name) \
    X(X509_set_pubkey) \
    X(X509_set_version) \
    X(X509_sign) \
    X(X509_verify_cert_error_string) \
    X(d2i_ECDSA_SIG) \
    X(d2i_OCSP_RESPONSE) \
    X(i2d_X509_REQ)

#define OPENSSL_MEMBER(name) __typeof__(name) *name;
struct openssl {
    OPENSSL_SSL(OPENSSL_MEMBER)
    OPENSSL_CRYPTO(OPENSSL_MEMBER)
};
#undef OPENSSL_MEMBER

/* Written once, by tls_load: as the linker's own table is, and like that one of the process. */
extern struct openssl openssl;

#ifndef OPENSSL_TABLE_ONLY
#define SSL_CTX_callback_ctrl openssl.SSL_CTX_callback_ctrl
#define SSL_CTX_ctrl openssl.SSL_CTX_ctrl
#define SSL_CTX_free openssl.SSL_CTX_free
#define SSL_CTX_get_ex_data openssl.SSL_CTX_get_ex_data
#define SSL_CTX_new openssl.SSL_CTX_new
#define SSL_CTX_sess_set_new_cb openssl.SSL_CTX_sess_set_new_cb
#define SSL_CTX_set1_cert_store openssl.SSL_CTX_set1_cert_store
#define SSL_CTX_set_alpn_protos openssl.SSL_CTX_set_alpn_protos
#define SSL_CTX_set_alpn_select_cb openssl.SSL_CTX_set_alpn_select_cb
#define SSL_CTX_set_cipher_list openssl.SSL_CTX_set_cipher_list
#define SSL_CTX_set_ciphersuites openssl.SSL_CTX_set_ciphersuites
#define SSL_CTX_set_client_CA_list openssl.SSL_CTX_set_client_CA_list
#define SSL_CTX_set_client_hello_cb openssl.SSL_CTX_set_client_hello_cb
#define SSL_CTX_set_default_verify_paths openssl.SSL_CTX_set_default_verify_paths
#define SSL_CTX_set_ex_data openssl.SSL_CTX_set_ex_data
#define SSL_CTX_set_num_tickets openssl.SSL_CTX_set_num_tickets
#define SSL_CTX_set_options openssl.SSL_CTX_set_options
#define SSL_CTX_set_session_id_context openssl.SSL_CTX_set_session_id_context
#define SSL_CTX_set_tlsext_ticket_key_evp_cb openssl.SSL_CTX_set_tlsext_ticket_key_evp_cb
#define SSL_CTX_set_verify openssl.SSL_CTX_set_verify
#define SSL_CTX_up_ref openssl.SSL_CTX_up_ref
#define SSL_CTX_use_PrivateKey openssl.SSL_CTX_use_PrivateKey
#define SSL_CTX_use_certificate openssl.SSL_CTX_use_certificate
#define SSL_SESSION_free openssl.SSL_SESSION_free
#define SSL_SESSION_is_resumable openssl.SSL_SESSION_is_resumable
#define SSL_client_hello_get0_ext openssl.SSL_client_hello_get0_ext
#define SSL_ctrl openssl.SSL_ctrl
#define SSL_do_handshake openssl.SSL_do_handshake
#define SSL_free openssl.SSL_free
#define SSL_get0_alpn_selected openssl.SSL_get0_alpn_selected
#define SSL_get0_param openssl.SSL_get0_param
#define SSL_get1_peer_certificate openssl.SSL_get1_peer_certificate
#define SSL_get_SSL_CTX openssl.SSL_get_SSL_CTX
#define SSL_get_certificate openssl.SSL_get_certificate
#define SSL_get_error openssl.SSL_get_error
#define SSL_get_ex_data openssl.SSL_get_ex_data
#define SSL_get_servername openssl.SSL_get_servername
#define SSL_get_shutdown openssl.SSL_get_shutdown
#define SSL_get_verify_result openssl.SSL_get_verify_result
#define SSL_get_version openssl.SSL_get_version
#define SSL_new openssl.SSL_new
#define SSL_peek_ex openssl.SSL_peek_ex
#define SSL_pending openssl.SSL_pending
#define SSL_read_ex openssl.SSL_read_ex
#define SSL_session_reused openssl.SSL_session_reused
#define SSL_set_SSL_CTX openssl.SSL_set_SSL_CTX
#define SSL_set_accept_state openssl.SSL_set_accept_state
#define SSL_set_bio openssl.SSL_set_bio
#define SSL_set_connect_state openssl.SSL_set_connect_state
#define SSL_set_ex_data openssl.SSL_set_ex_data
#define SSL_set_session openssl.SSL_set_session
#define SSL_set_shutdown openssl.SSL_set_shutdown
#define SSL_shutdown openssl.SSL_shutdown
#define SSL_version openssl.SSL_version
#define SSL_write_ex openssl.SSL_write_ex
#define TLS_client_method openssl.TLS_client_method
#define TLS_server_method openssl.TLS_server_method
#define ASN1_INTEGER_cmp openssl.ASN1_INTEGER_cmp
#define ASN1_INTEGER_set_uint64 openssl.ASN1_INTEGER_set_uint64
#define ASN1_OBJECT_free openssl.ASN1_OBJECT_free
#define ASN1_OCTET_STRING_free openssl.ASN1_OCTET_STRING_free
#define ASN1_OCTET_STRING_new openssl.ASN1_OCTET_STRING_new
#define ASN1_OCTET_STRING_set openssl.ASN1_OCTET_STRING_set
#define ASN1_STRING_get0_data openssl.ASN1_STRING_get0_data
#define ASN1_STRING_length openssl.ASN1_STRING_length
#define ASN1_TIME_to_tm openssl.ASN1_TIME_to_tm
#define AUTHORITY_INFO_ACCESS_free openssl.AUTHORITY_INFO_ACCESS_free
#define BIO_clear_flags openssl.BIO_clear_flags
#define BIO_ctrl openssl.BIO_ctrl
#define BIO_free openssl.BIO_free
#define BIO_get_data openssl.BIO_get_data
#define BIO_meth_free openssl.BIO_meth_free
#define BIO_meth_new openssl.BIO_meth_new
#define BIO_meth_set_ctrl openssl.BIO_meth_set_ctrl
#define BIO_meth_set_read_ex openssl.BIO_meth_set_read_ex
#define BIO_meth_set_write_ex openssl.BIO_meth_set_write_ex
#define BIO_new openssl.BIO_new
#define BIO_new_mem_buf openssl.BIO_new_mem_buf
#define BIO_s_mem openssl.BIO_s_mem
#define BIO_s_secmem openssl.BIO_s_secmem
#define BIO_set_data openssl.BIO_set_data
#define BIO_set_flags openssl.BIO_set_flags
#define BIO_set_init openssl.BIO_set_init
#define BN_bn2binpad openssl.BN_bn2binpad
#define BN_free openssl.BN_free
#define CRYPTO_free openssl.CRYPTO_free
#define CRYPTO_memcmp openssl.CRYPTO_memcmp
#define CRYPTO_memdup openssl.CRYPTO_memdup
#define ECDSA_SIG_free openssl.ECDSA_SIG_free
#define ECDSA_SIG_get0_r openssl.ECDSA_SIG_get0_r
#define ECDSA_SIG_get0_s openssl.ECDSA_SIG_get0_s
#define ERR_clear_error openssl.ERR_clear_error
#define ERR_get_error openssl.ERR_get_error
#define ERR_peek_error openssl.ERR_peek_error
#define ERR_peek_last_error openssl.ERR_peek_last_error
#define ERR_reason_error_string openssl.ERR_reason_error_string
#define EVP_DecodeBlock openssl.EVP_DecodeBlock
#define EVP_DecryptInit_ex openssl.EVP_DecryptInit_ex
#define EVP_Digest openssl.EVP_Digest
#define EVP_DigestFinal_ex openssl.EVP_DigestFinal_ex
#define EVP_DigestInit_ex2 openssl.EVP_DigestInit_ex2
#define EVP_DigestSign openssl.EVP_DigestSign
#define EVP_DigestSignInit openssl.EVP_DigestSignInit
#define EVP_DigestUpdate openssl.EVP_DigestUpdate
#define EVP_EncodeBlock openssl.EVP_EncodeBlock
#define EVP_EncryptInit_ex openssl.EVP_EncryptInit_ex
#define EVP_MAC_CTX_dup openssl.EVP_MAC_CTX_dup
#define EVP_MAC_CTX_free openssl.EVP_MAC_CTX_free
#define EVP_MAC_CTX_new openssl.EVP_MAC_CTX_new
#define EVP_MAC_CTX_set_params openssl.EVP_MAC_CTX_set_params
#define EVP_MAC_fetch openssl.EVP_MAC_fetch
#define EVP_MAC_final openssl.EVP_MAC_final
#define EVP_MAC_free openssl.EVP_MAC_free
#define EVP_MAC_init openssl.EVP_MAC_init
#define EVP_MAC_update openssl.EVP_MAC_update
#define EVP_MD_CTX_free openssl.EVP_MD_CTX_free
#define EVP_MD_CTX_new openssl.EVP_MD_CTX_new
#define EVP_MD_fetch openssl.EVP_MD_fetch
#define EVP_PKEY_Q_keygen openssl.EVP_PKEY_Q_keygen
#define EVP_PKEY_free openssl.EVP_PKEY_free
#define EVP_PKEY_get_base_id openssl.EVP_PKEY_get_base_id
#define EVP_PKEY_get_bits openssl.EVP_PKEY_get_bits
#define EVP_PKEY_get_bn_param openssl.EVP_PKEY_get_bn_param
#define EVP_PKEY_get_group_name openssl.EVP_PKEY_get_group_name
#define EVP_PKEY_get_security_bits openssl.EVP_PKEY_get_security_bits
#define EVP_PKEY_get_utf8_string_param openssl.EVP_PKEY_get_utf8_string_param
#define EVP_PKEY_is_a openssl.EVP_PKEY_is_a
#define EVP_aes_128_cbc openssl.EVP_aes_128_cbc
#define EVP_aes_256_cbc openssl.EVP_aes_256_cbc
#define EVP_sha256 openssl.EVP_sha256
#define GENERAL_NAMES_free openssl.GENERAL_NAMES_free
#define OBJ_obj2nid openssl.OBJ_obj2nid
#define OBJ_txt2obj openssl.OBJ_txt2obj
#define OCSP_BASICRESP_free openssl.OCSP_BASICRESP_free
#define OCSP_RESPONSE_free openssl.OCSP_RESPONSE_free
#define OCSP_SINGLERESP_get0_id openssl.OCSP_SINGLERESP_get0_id
#define OCSP_id_get0_info openssl.OCSP_id_get0_info
#define OCSP_resp_count openssl.OCSP_resp_count
#define OCSP_resp_get0 openssl.OCSP_resp_get0
#define OCSP_response_get1_basic openssl.OCSP_response_get1_basic
#define OCSP_response_status openssl.OCSP_response_status
#define OCSP_single_get0_status openssl.OCSP_single_get0_status
#define OPENSSL_sk_free openssl.OPENSSL_sk_free
#define OPENSSL_sk_new_null openssl.OPENSSL_sk_new_null
#define OPENSSL_sk_num openssl.OPENSSL_sk_num
#define OPENSSL_sk_pop_free openssl.OPENSSL_sk_pop_free
#define OPENSSL_sk_push openssl.OPENSSL_sk_push
#define OPENSSL_sk_value openssl.OPENSSL_sk_value
#define OSSL_PARAM_construct_end openssl.OSSL_PARAM_construct_end
#define OSSL_PARAM_construct_octet_string openssl.OSSL_PARAM_construct_octet_string
#define OSSL_PARAM_construct_utf8_string openssl.OSSL_PARAM_construct_utf8_string
#define PEM_read_bio_PrivateKey openssl.PEM_read_bio_PrivateKey
#define PEM_read_bio_X509 openssl.PEM_read_bio_X509
#define PEM_write_bio_PrivateKey openssl.PEM_write_bio_PrivateKey
#define PEM_write_bio_X509 openssl.PEM_write_bio_X509
#define RAND_bytes openssl.RAND_bytes
#define TLS_FEATURE_free openssl.TLS_FEATURE_free
#define X509V3_EXT_conf_nid openssl.X509V3_EXT_conf_nid
#define X509_EXTENSION_create_by_OBJ openssl.X509_EXTENSION_create_by_OBJ
#define X509_EXTENSION_free openssl.X509_EXTENSION_free
#define X509_NAME_add_entry_by_txt openssl.X509_NAME_add_entry_by_txt
#define X509_NAME_cmp openssl.X509_NAME_cmp
#define X509_NAME_dup openssl.X509_NAME_dup
#define X509_NAME_free openssl.X509_NAME_free
#define X509_NAME_get_text_by_NID openssl.X509_NAME_get_text_by_NID
#define X509_NAME_print_ex openssl.X509_NAME_print_ex
#define X509_REQ_add_extensions openssl.X509_REQ_add_extensions
#define X509_REQ_free openssl.X509_REQ_free
#define X509_REQ_get_subject_name openssl.X509_REQ_get_subject_name
#define X509_REQ_new openssl.X509_REQ_new
#define X509_REQ_set_pubkey openssl.X509_REQ_set_pubkey
#define X509_REQ_set_version openssl.X509_REQ_set_version
#define X509_REQ_sign openssl.X509_REQ_sign
#define X509_STORE_add_cert openssl.X509_STORE_add_cert
#define X509_STORE_free openssl.X509_STORE_free
#define X509_STORE_new openssl.X509_STORE_new
#define X509_STORE_set_flags openssl.X509_STORE_set_flags
#define X509_STORE_up_ref openssl.X509_STORE_up_ref
#define X509_VERIFY_PARAM_set1_host openssl.X509_VERIFY_PARAM_set1_host
#define X509_VERIFY_PARAM_set1_ip_asc openssl.X509_VERIFY_PARAM_set1_ip_asc
#define X509_VERIFY_PARAM_set_hostflags openssl.X509_VERIFY_PARAM_set_hostflags
#define X509_add_ext openssl.X509_add_ext
#define X509_check_ca openssl.X509_check_ca
#define X509_check_private_key openssl.X509_check_private_key
#define X509_cmp openssl.X509_cmp
#define X509_cmp_current_time openssl.X509_cmp_current_time
#define X509_free openssl.X509_free
#define X509_get0_notAfter openssl.X509_get0_notAfter
#define X509_get0_notBefore openssl.X509_get0_notBefore
#define X509_get0_pubkey openssl.X509_get0_pubkey
#define X509_get0_serialNumber openssl.X509_get0_serialNumber
#define X509_get_ext_d2i openssl.X509_get_ext_d2i
#define X509_get_extended_key_usage openssl.X509_get_extended_key_usage
#define X509_get_issuer_name openssl.X509_get_issuer_name
#define X509_get_serialNumber openssl.X509_get_serialNumber
#define X509_get_signature_info openssl.X509_get_signature_info
#define X509_get_subject_name openssl.X509_get_subject_name
#define X509_getm_notAfter openssl.X509_getm_notAfter
#define X509_getm_notBefore openssl.X509_getm_notBefore
#define X509_gmtime_adj openssl.X509_gmtime_adj
#define X509_new openssl.X509_new
#define X509_set_issuer_name openssl.X509_set_issuer_name
#define X509_set_pubkey openssl.X509_set_pubkey
#define X509_set_version openssl.X509_set_version
#define X509_sign openssl.X509_sign
#define X509_verify_cert_error_string openssl.X509_verify_cert_error_string
#define d2i_ECDSA_SIG openssl.d2i_ECDSA_SIG
#define d2i_OCSP_RESPONSE openssl.d2i_OCSP_RESPONSE
#define i2d_X509_REQ openssl.i2d_X509_REQ
#endif
/* clang-format on */

#endif
