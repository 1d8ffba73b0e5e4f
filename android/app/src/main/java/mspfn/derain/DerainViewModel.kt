package mspfn.derain

import android.app.Application
import android.graphics.Bitmap
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.LiteRtException
import java.io.IOException
import java.util.concurrent.Executors
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch

/** What the screen shows. */
data class State(
    val before: Bitmap? = null,
    val after: Bitmap? = null,
    val status: String = "",
    val busy: Boolean = true,
)

class DerainViewModel(application: Application) : AndroidViewModel(application) {

    private val changing = MutableStateFlow(State())
    val state = changing.asStateFlow()

    // A compiled model belongs to the thread that made it.
    private val worker = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
    private var derainer: Derainer? = null

    init {
        say(text(R.string.loading), busy = true)
        viewModelScope.launch(worker) {
            try {
                derainer = open()
                changing.update { it.copy(busy = false) }
            } catch (error: LiteRtException) {
                say(text(R.string.no_model, error.message.orEmpty()), busy = true)
            }
        }
    }

    /** On the GPU; where that refuses, on the processor, and the screen says so. */
    private fun open(): Derainer {
        val assets = getApplication<Application>().assets
        return try {
            Derainer(assets, MODEL, Accelerator.GPU).also { say("GPU", busy = true) }
        } catch (error: LiteRtException) {
            say(text(R.string.no_gpu, error.message.orEmpty()), busy = true)
            Derainer(assets, MODEL, Accelerator.CPU)
        }
    }

    fun restore(uri: Uri) {
        viewModelScope.launch(worker) {
            val derainer = checkNotNull(derainer)
            try {
                val before = readUpright(getApplication<Application>().contentResolver, uri)
                changing.update { State(before = before) }
                var tiles = 0
                val (after, timing) = TiledDerainer(derainer).derain(before) { done, total ->
                    tiles = total
                    say(text(R.string.restoring, done, total), busy = true)
                }
                val status = text(
                    R.string.restored, derainer.accelerator, tiles, timing.total, timing.readback,
                )
                changing.update { State(before, after, status, busy = false) }
            } catch (error: IOException) {
                sayFailed(error)
            } catch (error: LiteRtException) {
                sayFailed(error)
            } catch (error: SecurityException) { // the other app no longer lends the picture
                sayFailed(error)
            } catch (error: OutOfMemoryError) {
                sayFailed(error)
            }
        }
    }

    private fun sayFailed(error: Throwable) {
        say(text(R.string.failed, error.message.orEmpty()), busy = false)
    }

    private fun say(status: String, busy: Boolean) {
        changing.update { it.copy(status = status, busy = busy) }
    }

    private fun text(id: Int, vararg values: Any) = getApplication<Application>().getString(id, *values)

    override fun onCleared() {
        worker.executor.execute { derainer?.close() }
        worker.close()
    }

    private companion object {
        const val MODEL = "mspfn_mobile.tflite"
    }
}
