//! From a function to the test that it becomes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, Ident, ItemFn, PatType, Result, Signature, Type, parse2};

/// What stands in the parentheses.
struct Options {
    private: Option<Ident>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { private: None });
        }
        let unknown = "the only option is `private`, as in `#[etcd_sandbox::test(private)]`; for a runtime of another kind \
                       write `#[tokio::test(…)]`, and `Sandbox::open` in the test";
        match input.parse::<Ident>() {
            Ok(option) if option == "private" && input.is_empty() => Ok(Self { private: Some(option) }),
            Ok(option) => Err(Error::new(option.span(), unknown)),
            Err(error) => Err(Error::new(error.span(), unknown)),
        }
    }
}

/// Makes the test. `has_private`: whether etcd-sandbox has its feature `private`.
pub(crate) fn expand(options: TokenStream, item: TokenStream, has_private: bool) -> Result<TokenStream> {
    let options: Options = parse2(options)?;
    if let Some(private) = options.private.as_ref().filter(|_| !has_private) {
        let missing = "`private` needs the feature `private` of etcd-sandbox; in Cargo.toml, below [dev-dependencies]: \
                       etcd-sandbox = { version = \"…\", features = [\"private\"] }";
        return Err(Error::new(private.span(), missing));
    }
    let mut test: ItemFn =
        parse2(item).map_err(|error| Error::new(error.span(), "`#[etcd_sandbox::test]` stands before a function"))?;
    check_attributes(&test.attrs)?;
    check_signature(&test.sig)?;
    let (name, output, visibility) = (test.sig.ident.clone(), test.sig.output.clone(), test.vis.clone());
    let attributes = std::mem::take(&mut test.attrs);
    let run = match (test.sig.asyncness.is_some(), attributes.iter().any(|one| is_named(one, &["should_panic"]))) {
        (true, false) => quote!(run),
        (false, false) => quote!(run_blocking),
        (true, true) => quote!(run_to_panic),
        (false, true) => quote!(run_blocking_to_panic),
    };
    let server = if options.private.is_some() { quote!(Private) } else { quote!(Shared) };
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

/// What to write where rstest gives the test its arguments.
const WITH_RSTEST: &str = "with rstest, which gives a test its arguments, write `#[tokio::test]` instead of \
                           `#[etcd_sandbox::test]`, and a fixture that calls `Sandbox::open_blocking`";

/// Other attributes that make a test of the function.
fn check_attributes(attributes: &[Attribute]) -> Result<()> {
    for attribute in attributes {
        if is_named(attribute, &["rstest", "case", "values", "apply"]) {
            return Err(Error::new_spanned(attribute, WITH_RSTEST));
        }
        if is_named(attribute, &["test"]) {
            let twice = "`#[etcd_sandbox::test]` makes the function a test and brings a runtime: remove this attribute";
            return Err(Error::new_spanned(attribute, twice));
        }
    }
    Ok(())
}

/// Whether the last part of its path is one of these names.
fn is_named(attribute: &Attribute, names: &[&str]) -> bool {
    attribute.path().segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name))
}

/// That the function takes its sandbox, and nothing else.
fn check_signature(signature: &Signature) -> Result<()> {
    let one_argument = "an `#[etcd_sandbox::test]` takes one argument, `sandbox: Sandbox`";
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a test has no generic parameters"));
    }
    if let Some(unsafety) = &signature.unsafety {
        return Err(Error::new_spanned(unsafety, "a test is not unsafe: write an unsafe block in it"));
    }
    let mut arguments = signature.inputs.iter();
    match (arguments.next(), arguments.next()) {
        (None, _) => Err(Error::new_spanned(signature, format!("{one_argument}; {WITH_RSTEST}"))),
        (Some(FnArg::Receiver(receiver)), _) => Err(Error::new_spanned(receiver, "a method cannot be a test")),
        (Some(FnArg::Typed(PatType { attrs, .. })), _) if !attrs.is_empty() => {
            Err(Error::new_spanned(signature, WITH_RSTEST))
        }
        (_, Some(second)) => Err(Error::new_spanned(second, format!("{one_argument}; {WITH_RSTEST}"))),
        (Some(FnArg::Typed(PatType { ty, .. })), None) => match &**ty {
            Type::Reference(_) => Err(Error::new_spanned(ty, format!("{one_argument}, and no reference to it"))),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenStream, expand};

    fn tokens(text: &str) -> TokenStream {
        text.parse().unwrap()
    }

    fn error(options: &str, item: &str) -> String {
        expand(tokens(options), tokens(item), false).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_a_test_is_refused_with_what_to_write() {
        let one_argument = "takes one argument, `sandbox: Sandbox`";
        for (item, words) in [
            ("async fn a() {}", [one_argument, "`#[tokio::test]`"]),
            ("async fn a(s: Sandbox, n: u32) {}", [one_argument, "`#[tokio::test]`"]),
            ("async fn a(s: &Sandbox) {}", [one_argument, "no reference"]),
            ("async fn a(&self) {}", ["a method", ""]),
            ("async unsafe fn a(s: Sandbox) {}", ["not unsafe", ""]),
            ("fn a<T>(s: T) {}", ["generic", ""]),
            ("struct A;", ["before a function", ""]),
            ("#[tokio::test] async fn a(s: Sandbox) {}", ["remove this attribute", "brings a runtime"]),
            ("#[test] fn a(s: Sandbox) {}", ["remove this attribute", ""]),
        ] {
            let said = error("", item);
            assert!(words.iter().all(|word| said.contains(word)), "{item}: {said}");
        }
    }

    #[test]
    fn beside_rstest_it_says_what_to_write() {
        for item in [
            "#[rstest::rstest] #[case(1)] async fn a(sandbox: Sandbox, #[case] key: u32) {}",
            "#[case(1)] async fn a(sandbox: Sandbox) {}",
            "async fn a(#[from(sandbox)] sandbox: Sandbox) {}",
            // What rstest leaves where it comes first.
            "async fn case_1() {}",
        ] {
            let said = error("", item);
            assert!(
                said.contains("write `#[tokio::test]` instead") && said.contains("open_blocking"),
                "{item}: {said}"
            );
        }
    }

    #[test]
    fn options_are_known_or_refused() {
        let test = "async fn a(sandbox: Sandbox) {}";
        for options in ["shared", "private, x", "private = true", "flavor = \"multi_thread\"", "\"a\""] {
            let said = error(options, test);
            assert!(said.contains("the only option is `private`"), "{options}: {said}");
        }
        let said = error("private", test);
        assert!(said.contains("needs the feature") && said.contains("features = [\"private\"]"), "{said}");
        let expanded = expand(tokens("private"), tokens(test), true).unwrap().to_string();
        assert!(expanded.contains("Server :: Private"), "{expanded}");
    }

    #[test]
    fn attributes_stay_with_the_test() {
        let expanded = expand(tokens(""), tokens("#[should_panic] async fn a(sandbox: Sandbox) {}"), false);
        let expanded = expanded.unwrap().to_string();
        assert!(expanded.starts_with("# [should_panic] # [:: core"), "{expanded}");
        assert!(expanded.contains("run_to_panic") && expanded.contains("Server :: Shared"), "{expanded}");
    }
}
