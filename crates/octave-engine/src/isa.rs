//! Choice of the instruction set at run time.
//!
//! WebAssembly is the exception: a browser refuses a module with one instruction that it does not
//! know, so what a module is compiled with is what it has.
//!
//! An [`Isa`] can only be obtained when the running processor has it, so
//! holding one *is* the proof that kernels compiled for it may be called.

use std::fmt;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
    Portable,
}

/// What [`Isa::best`] gives.
static BEST: OnceLock<Isa> = OnceLock::new();

/// An instruction set that this processor has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

impl Isa {
    /// The fastest instruction set of this processor, or the one that the
    /// environment variable `OCTAVE_ISA` names, for measuring another one. It
    /// is read once.
    ///
    /// # Panics
    ///
    /// If `OCTAVE_ISA` names no instruction set of this processor.
    pub fn best() -> Self {
        *BEST.get_or_init(|| match std::env::var("OCTAVE_ISA") {
            Ok(name) if !name.is_empty() => Self::by_name(&name).unwrap_or_else(|| {
                let names: Vec<_> = Self::available().into_iter().map(Self::name).collect();
                panic!(
                    "OCTAVE_ISA is {name:?}: this processor has {}",
                    names.join(", ")
                )
            }),
            _ => Self::available()[0],
        })
    }

    /// Makes this set what [`best`](Self::best) gives from now on.
    ///
    /// # Errors
    ///
    /// The set in use, if that is another one already.
    pub fn choose(self) -> Result<(), Self> {
        match *BEST.get_or_init(|| self) {
            best if best == self => Ok(()),
            other => Err(other),
        }
    }

    /// The instruction set of this [`name`](Self::name), if this processor has it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Every instruction set that can be used here, fastest first. The
    /// portable one is always the last.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f") {
                found.push(Self(Kind::Avx512));
            }
            if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                found.push(Self(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(Kind::Neon));
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        found.push(Self(Kind::Simd128));
        found.push(Self(Kind::Portable));
        found
    }

    /// The set that needs no special instructions.
    pub fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// `"avx512"`, `"avx2"`, `"neon"`, `"simd128"`, `"relaxed-simd"` (the same with fused
    /// multiply–adds where the processor has them) or `"portable"`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Simd128 if cfg!(target_feature = "relaxed-simd") => "relaxed-simd",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Simd128 => "simd128",
            Kind::Portable => "portable",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Defines a function compiled once per instruction set.
///
/// The body is written in ordinary Rust and left to the auto-vectoriser; the
/// generated function takes the [`Isa`] as an extra first argument. Meant for
/// passes that are limited by memory, where hand-written intrinsics bring
/// nothing.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            match isa.kind() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind exists only where the
                // processor has the feature.
                $crate::isa::Kind::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::isa::Kind::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use per_isa;

/// Defines an unsafe function that runs the instance of a kernel generic over
/// [`Simd`](crate::simd::Simd) for the given [`Isa`].
macro_rules! simd_kernel {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $generic:ident) => {
        $(#[$meta])*
        $vis unsafe fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller upholds the contract of the kernel.
                unsafe { $generic::<$crate::simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller upholds the contract of the kernel.
                unsafe { $generic::<$crate::simd::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller upholds the contract of the kernel.
                unsafe { $generic::<$crate::simd::Neon>($($arg),*) }
            }
            match isa.kind() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind exists only where the
                // processor has the feature; the caller upholds the rest.
                $crate::isa::Kind::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::isa::Kind::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                // SAFETY: as above.
                $crate::isa::Kind::Neon => unsafe { neon($($arg),*) },
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                // SAFETY: as below; the whole module is compiled for it.
                $crate::isa::Kind::Simd128 => unsafe {
                    $generic::<$crate::simd::Simd128>($($arg),*)
                },
                // SAFETY: the caller upholds the contract of the kernel.
                $crate::isa::Kind::Portable => unsafe {
                    $generic::<$crate::simd::Portable>($($arg),*)
                },
            }
        }
    };
}
pub(crate) use simd_kernel;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_last() {
        let all = Isa::available();
        assert_eq!(all.last(), Some(&Isa::portable()));
        assert!(all.contains(&Isa::best()));
    }

    #[test]
    fn names_lead_back() {
        for isa in Isa::available() {
            assert_eq!(Isa::by_name(isa.name()), Some(isa));
        }
        assert_eq!(Isa::by_name("sse9"), None);
    }
}
