//! Puts every mutant of a source file into it, each behind a switch.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{
    Attribute, BinOp, Block, Expr, ExprIf, Item, Lit, UnOp, parse_quote,
    spanned::Spanned,
    visit_mut::{self, VisitMut},
};

/// One changed expression.
pub struct Mutant {
    pub file: String,
    pub line: usize,
    pub from: String,
    pub to: String,
}

/// The file with its mutants, which are added to `mutants`: mutant `n` of that list is on where
/// `crate::mutant::on(n)` is true. Those in `skip` are listed, but not put in.
pub fn instrument(
    file: &str,
    source: &str,
    mutants: &mut Vec<Mutant>,
    skip: &dyn Fn(usize) -> bool,
) -> syn::Result<String> {
    let mut tree = syn::parse_file(source)?;
    Instrument {
        file,
        mutants,
        skip,
    }
    .visit_file_mut(&mut tree);
    Ok(prettyplease::unparse(&tree))
}

struct Instrument<'a> {
    file: &'a str,
    mutants: &'a mut Vec<Mutant>,
    skip: &'a dyn Fn(usize) -> bool,
}

impl Instrument<'_> {
    /// `changed` if the new mutant is on, else `kept`, which may hold mutants itself. At most one
    /// mutant is on, so that `changed` needs none.
    fn switch(&mut self, span: Span, original: &Expr, changed: Expr, kept: Expr) -> Expr {
        let number = self.mutants.len();
        self.mutants.push(Mutant {
            file: self.file.into(),
            line: span.start().line,
            from: text(original),
            to: text(&changed),
        });
        if (self.skip)(number) {
            return kept;
        }
        let number = number as u32;
        parse_quote!((if crate::mutant::on(#number) { #changed } else { #kept }))
    }
}

impl VisitMut for Instrument<'_> {
    fn visit_item_mut(&mut self, item: &mut Item) {
        let (attributes, constant): (&[Attribute], bool) = match item {
            Item::Fn(item) => (&item.attrs, item.sig.constness.is_some()),
            Item::Impl(item) => (&item.attrs, false),
            Item::Mod(item) => (&item.attrs, false),
            Item::Trait(item) => (&item.attrs, false),
            _ => return,
        };
        if !constant && !is_test(attributes) {
            visit_mut::visit_item_mut(self, item);
        }
    }

    fn visit_impl_item_mut(&mut self, item: &mut syn::ImplItem) {
        match item {
            syn::ImplItem::Fn(function) if function.sig.constness.is_none() => {
                visit_mut::visit_impl_item_mut(self, item);
            }
            _ => {}
        }
    }

    // Neither types nor patterns compute anything, and what stands in them must be constant.
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_generic_argument_mut(&mut self, _: &mut syn::GenericArgument) {}
    fn visit_attribute_mut(&mut self, _: &mut Attribute) {}

    fn visit_expr_repeat_mut(&mut self, repeat: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut repeat.expr);
    }

    fn visit_expr_if_mut(&mut self, branch: &mut ExprIf) {
        let original = (*branch.cond).clone();
        visit_mut::visit_expr_if_mut(self, branch);
        // A comparison has mutants of its own.
        if !has_let(&original) && !matches!(original, Expr::Binary(_) | Expr::Unary(_)) {
            let kept = (*branch.cond).clone();
            let changed = parse_quote!(!(#original));
            *branch.cond = self.switch(original.span(), &original, changed, kept);
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        let original = expression.clone();
        let changed = variants(&original);
        // A number behind a minus sign is one thing.
        if !matches!(&original, Expr::Unary(unary) if matches!(&*unary.expr, Expr::Lit(_))) {
            visit_mut::visit_expr_mut(self, expression);
        }
        for changed in changed {
            let kept = expression.clone();
            *expression = self.switch(original.span(), &original, changed, kept);
        }
    }
}

/// What an expression can be broken into.
fn variants(expression: &Expr) -> Vec<Expr> {
    match expression {
        Expr::Binary(binary) if !has_let(expression) => {
            let changed = |op: &BinOp| {
                let mut changed = binary.clone();
                changed.op = *op;
                Expr::Binary(changed)
            };
            other_operators(&binary.op).iter().map(changed).collect()
        }
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_) | UnOp::Not(_)) => {
            vec![(*unary.expr).clone()]
        }
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => {
                let value: u64 = number.base10_parse().unwrap_or(0);
                let changed = format!("{}{}", value + 1, number.suffix());
                let changed = syn::LitInt::new(&changed, number.span());
                vec![parse_quote!(#changed)]
            }
            Lit::Float(number) => {
                let value: f64 = number.base10_parse().unwrap_or(0.0);
                let changed = format!("{:?}{}", 1.5 * value + 0.25, number.suffix());
                let changed = syn::LitFloat::new(&changed, number.span());
                vec![parse_quote!(#changed)]
            }
            Lit::Bool(value) => {
                let changed = !value.value;
                vec![parse_quote!(#changed)]
            }
            _ => vec![],
        },
        Expr::MethodCall(call) => {
            let other = match call.method.to_string().as_str() {
                "min" => "max",
                "max" => "min",
                "all" => "any",
                "any" => "all",
                "is_some" => "is_none",
                "is_none" => "is_some",
                "saturating_sub" => "wrapping_add",
                "div_ceil" => "wrapping_div",
                "then" | "then_some" | "floor" | "ceil" | "rev" => return remove(call),
                _ => return vec![],
            };
            let mut changed = call.clone();
            changed.method = syn::Ident::new(other, call.method.span());
            vec![Expr::MethodCall(changed)]
        }
        Expr::Field(field) => {
            let other = match &field.member {
                syn::Member::Named(name) if name == "high" => "low",
                syn::Member::Named(name) if name == "low" => "high",
                _ => return vec![],
            };
            let mut changed = field.clone();
            changed.member = syn::Member::Named(syn::Ident::new(other, field.member.span()));
            vec![Expr::Field(changed)]
        }
        _ => vec![],
    }
}

/// `floor`, `ceil` and `rev` are left out; `then` gives a value where it gave none.
fn remove(call: &syn::ExprMethodCall) -> Vec<Expr> {
    let receiver = &call.receiver;
    if matches!(call.method.to_string().as_str(), "then" | "then_some") {
        let mut changed = call.clone();
        *changed.receiver = parse_quote!((!(#receiver)));
        vec![Expr::MethodCall(changed)]
    } else {
        vec![(**receiver).clone()]
    }
}

fn other_operators(op: &BinOp) -> Vec<BinOp> {
    match op {
        BinOp::Add(_) => vec![parse_quote!(-)],
        BinOp::Sub(_) => vec![parse_quote!(+)],
        BinOp::Mul(_) => vec![parse_quote!(/)],
        BinOp::Div(_) => vec![parse_quote!(*)],
        BinOp::Rem(_) => vec![parse_quote!(/)],
        BinOp::Eq(_) => vec![parse_quote!(!=)],
        BinOp::Ne(_) => vec![parse_quote!(==)],
        BinOp::Lt(_) => vec![parse_quote!(<=), parse_quote!(>)],
        BinOp::Gt(_) => vec![parse_quote!(>=), parse_quote!(<)],
        BinOp::Le(_) => vec![parse_quote!(<), parse_quote!(>)],
        BinOp::Ge(_) => vec![parse_quote!(>), parse_quote!(<)],
        BinOp::And(_) => vec![parse_quote!(||)],
        BinOp::Or(_) => vec![parse_quote!(&&)],
        BinOp::AddAssign(_) => vec![parse_quote!(-=)],
        BinOp::SubAssign(_) => vec![parse_quote!(+=)],
        BinOp::MulAssign(_) => vec![parse_quote!(/=)],
        BinOp::DivAssign(_) => vec![parse_quote!(*=)],
        _ => vec![],
    }
}

/// Whether a condition binds names, and so cannot be wrapped.
fn has_let(expression: &Expr) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_expr_let_mut(&mut self, _: &mut syn::ExprLet) {
            self.0 = true;
        }
        fn visit_block_mut(&mut self, _: &mut Block) {}
    }
    let mut find = Find(false);
    find.visit_expr_mut(&mut expression.clone());
    find.0
}

fn is_test(attributes: &[Attribute]) -> bool {
    let text = |attribute: &Attribute| attribute.to_token_stream().to_string().replace(' ', "");
    attributes.iter().any(|a| text(a).contains("cfg(test)"))
}

fn text(expression: &Expr) -> String {
    let text = expression.to_token_stream().to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
