//! From a function to the test that it becomes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, ItemFn, Result, parse2};

/// What stands in the parentheses.
struct Options {
    private: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { private: false });
        }
        let option: Ident = input.parse()?;
        if option != "private" || !input.is_empty() {
            return Err(Error::new(option.span(), "the only option is `private`"));
        }
        Ok(Self { private: true })
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options: Options = parse2(options)?;
    let mut test: ItemFn = parse2(item)?;
    let signature = &test.sig;
    if signature.inputs.len() != 1 {
        return Err(Error::new_spanned(signature, "the test takes one argument, its `Sandbox`"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a test has no generic parameters"));
    }
    let (name, output, visibility) = (signature.ident.clone(), signature.output.clone(), test.vis.clone());
    let attributes = std::mem::take(&mut test.attrs);
    let run = if signature.asyncness.is_some() { quote!(run) } else { quote!(run_blocking) };
    let server = if options.private { quote!(Private) } else { quote!(Shared) };
    test.vis = syn::Visibility::Inherited;
    Ok(quote! {
        #(#attributes)*
        #[::core::prelude::v1::test]
        #visibility fn #name() #output {
            #test
            ::etcd_sandbox::attribute::#run(
                concat!(module_path!(), "::", stringify!(#name)),
                ::etcd_sandbox::attribute::Server::#server,
                #name,
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{TokenStream, expand};

    fn error(options: TokenStream, item: TokenStream) -> String {
        expand(options, item).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_test_is_refused_in_words() {
        assert!(
            error(
                quote!(),
                quote!(
                    async fn a() {}
                )
            )
            .contains("takes one argument")
        );
        assert!(
            error(
                quote!(),
                quote!(
                    fn a<T>(s: T) {}
                )
            )
            .contains("generic")
        );
        assert!(
            error(
                quote!(shared),
                quote!(
                    fn a(s: Sandbox) {}
                )
            )
            .contains("`private`")
        );
        assert!(
            error(
                quote!(private, x),
                quote!(
                    fn a(s: Sandbox) {}
                )
            )
            .contains("`private`")
        );
        assert!(
            expand(
                quote!(),
                quote!(
                    struct A;
                )
            )
            .is_err()
        );
    }

    #[test]
    fn attributes_stay_with_the_test() {
        let item = quote! {
            #[should_panic]
            async fn a(sandbox: Sandbox) {}
        };
        let expanded = expand(quote!(private), item).unwrap().to_string();
        assert!(expanded.starts_with("# [should_panic] # [:: core"), "{expanded}");
        assert!(expanded.contains("Server :: Private"), "{expanded}");
    }
}
