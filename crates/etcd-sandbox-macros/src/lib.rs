//! The attribute `#[etcd_sandbox::test]`. Only rewrites the function; `etcd-sandbox` runs the test.

mod expand;

/// Makes a function that takes an `etcd_sandbox::Sandbox` a test. Documented as `etcd_sandbox::test`.
#[proc_macro_attribute]
pub fn test(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(options.into(), item.into(), cfg!(feature = "private"))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
